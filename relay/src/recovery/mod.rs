//! From the files of earlier boots to the state that a new boot starts with.

#[cfg(test)]
mod crash_images;
mod stream;

pub use stream::{Believed, Damage, StreamScan, StreamState, TornTail};
