//! Rounds of part A of the fan-out: the next one begins when every receiver has the last, and
//! after a rest.
//!
//! The rest is a part of the round's own length. It keeps the generator below its limit, where
//! receiving on ten thousand sockets would take it, and changes nothing of what a send costs the
//! server, since the server has nothing to do meanwhile.
//!
//! Runs on: the generator's thread.

/// Rest after a round, as a part of the round.
const REST: f64 = 0.25;

/// When rounds begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rounds {
    began_ns: u64,
    /// When the next may begin; 0 while the round is not known to be over.
    next_ns: u64,
}

impl Rounds {
    /// Asked once the round is over: true when the rest is over too.
    pub fn may_begin(&mut self, now_ns: u64) -> bool {
        if self.began_ns == 0 {
            return true;
        }
        if self.next_ns == 0 {
            let length = now_ns.saturating_sub(self.began_ns);
            self.next_ns = now_ns + (length as f64 * REST) as u64;
        }
        now_ns >= self.next_ns
    }

    /// A round begins.
    pub fn begin(&mut self, now_ns: u64) {
        self.began_ns = now_ns;
        self.next_ns = 0;
    }

    /// When to look again; `u64::MAX` while a round is on.
    pub fn next_ns(&self) -> u64 {
        if self.next_ns == 0 {
            u64::MAX
        } else {
            self.next_ns
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_a_part_of_the_round() {
        let mut rounds = Rounds::default();
        assert!(rounds.may_begin(5));
        rounds.begin(1_000);
        assert_eq!(rounds.next_ns(), u64::MAX);
        assert!(!rounds.may_begin(5_000));
        assert_eq!(rounds.next_ns(), 6_000);
        assert!(!rounds.may_begin(5_999) && rounds.may_begin(6_000));
    }
}
