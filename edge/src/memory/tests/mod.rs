//! Tests of the memory structures through their public interface.

mod reserved;
mod slab;
