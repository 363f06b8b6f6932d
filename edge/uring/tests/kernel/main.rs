//! Tests of the kernels through their public interface.

mod connections;
mod driving;
mod listening;
mod model;
mod services;
mod support;
