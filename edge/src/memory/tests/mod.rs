//! Tests of the memory structures through their public interface.

mod blocks;
mod channel_log;
mod channel_log_model;
mod conflation_model;
mod frame_pool;
mod last_values;
mod reserved;
mod slab;
