//! How fast P3 is acknowledged beside other work.
//!
//! Purpose: an acknowledgement lets its client publish again, so the pace of acknowledgements is
//! the pace of clients that always have something ready. Beside other work P3 gets one for every
//! [`BACKGROUND_SHARE`] frames that came in: enough for a load of which a tenth is P3, so that its
//! records do not fill the credit that their clients need for chat too; and too little for eager
//! clients to crowd out the rest.
//!
//! Limits: at most [`BACKGROUND_ACKS_IDLE`] in a turn with nothing else to do, at most
//! [`BACKGROUND_ACKS_SAVED`] in any other.
//!
//! Thread: the shard.

/// Frames that came in for each acknowledgement of P3; a turn counts as one more, so that P3 goes
/// on where shards only send.
pub const BACKGROUND_SHARE: u64 = 8;
/// Acknowledgements that busy turns may save up while no P3 waits.
pub const BACKGROUND_ACKS_SAVED: u64 = 32;
/// Acknowledgements in a turn that has nothing else to do.
pub const BACKGROUND_ACKS_IDLE: u64 = 256;

/// What the next turns may acknowledge.
#[derive(Debug, Default)]
pub struct BackgroundPace {
    /// Frames that no acknowledgement was given for yet.
    saved: u64,
    /// Frames of the shard when it was asked last.
    frames_in: u64,
}

impl BackgroundPace {
    /// Acknowledgements of P3 that this turn may give. `frames_in` counts the frames that the
    /// shard has ever received.
    pub fn allows(&mut self, busy: bool, frames_in: u64) -> u64 {
        let came = frames_in - self.frames_in;
        self.frames_in = frames_in;
        if !busy {
            return BACKGROUND_ACKS_IDLE;
        }
        let most = BACKGROUND_ACKS_SAVED * BACKGROUND_SHARE;
        self.saved = (self.saved + came + 1).min(most);
        self.saved / BACKGROUND_SHARE
    }

    /// Notes that so many were given.
    pub fn gave(&mut self, acks: u64) {
        self.saved = self.saved.saturating_sub(acks * BACKGROUND_SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Acknowledgements of `turns` busy turns with `frames` each, while P3 always waits.
    fn given(turns: u64, frames: u64) -> u64 {
        let mut pace = BackgroundPace::default();
        let mut frames_in = 0;
        let mut given = 0;
        for _ in 0..turns {
            frames_in += frames;
            let acks = pace.allows(true, frames_in);
            pace.gave(acks);
            given += acks;
        }
        given
    }

    #[test]
    fn a_turn_with_nothing_else_to_do_gives_many() {
        let mut pace = BackgroundPace::default();
        assert_eq!(pace.allows(false, 0), BACKGROUND_ACKS_IDLE);
        pace.gave(BACKGROUND_ACKS_IDLE);
        assert_eq!(pace.allows(false, 5), BACKGROUND_ACKS_IDLE);
    }

    #[test]
    fn a_busy_shard_gives_one_for_its_share_of_frames() {
        assert_eq!(given(100, 63), 100 * 64 / BACKGROUND_SHARE);
        assert_eq!(given(100, 3), 100 * 4 / BACKGROUND_SHARE);
    }

    #[test]
    fn a_shard_that_only_sends_still_gives_one_now_and_then() {
        assert_eq!(given(800, 0), 800 / BACKGROUND_SHARE);
    }

    #[test]
    fn what_nobody_waited_for_is_saved_up_to_a_limit() {
        let mut pace = BackgroundPace::default();
        for turn in 1..=1_000 {
            pace.allows(true, turn * 64);
        }
        assert_eq!(pace.allows(true, 64_000), BACKGROUND_ACKS_SAVED);
        pace.gave(BACKGROUND_ACKS_SAVED);
        assert_eq!(pace.allows(true, 64_000), 0);
    }
}
