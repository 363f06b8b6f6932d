//! Crash images: what the journal leaves behind when the machine stops at any moment.
//!
//! A model disk stands under the journal. It knows which writes a sync has covered; at a
//! crash every other write may be lost or torn at sectors of 512 or 4,096 bytes, each
//! sector on its own. Each image is recovered and compared with what was promised:
//! - every entry that was durable is there, with its content, in order, once;
//! - what is there is a prefix of what was appended: nothing behind a break is believed;
//! - a crash alone is never reported as damage;
//! - recovering twice gives the same, also with a second crash while a new boot appends
//!   what the first recovery handed over.
//!
//! `INTERLINK_CRASH_IMAGES` sets the number of images (5,000), `INTERLINK_CRASH_SEED` the
//! first seed. A failure names the seed that repeats it.

mod disk;
mod tests;
mod workload;
