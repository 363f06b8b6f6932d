//! When a pass is due and what it does, without servers.

mod passes;
mod watching;
mod world;
