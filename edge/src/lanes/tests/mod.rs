//! Tests of the lanes.

mod model;
mod order;
mod sleep;
