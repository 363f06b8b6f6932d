//! Tests of the kernels through their public interface.

mod connections;
mod driving;
mod listening;
mod model;
mod sending;
mod services;
mod support;
