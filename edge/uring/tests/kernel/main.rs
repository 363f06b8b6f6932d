//! Tests of the kernels through their public interface.

mod connections;
mod model;
mod services;
mod support;
