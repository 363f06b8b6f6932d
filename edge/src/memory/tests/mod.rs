//! Tests of the memory structures through their public interface.

mod blocks;
mod reserved;
mod slab;
