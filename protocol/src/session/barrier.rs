//! Order across refusals: what a publisher has to send again before it may go on.
//!
//! Purpose: a publish that is refused for now comes again with the same id. Until then later ids
//! of its class are refused too, and so have to come again as well; only when all of them have
//! returned are new ids accepted. So a retry never falls behind what followed it, although ids
//! that the client sent before it heard of the refusal were still on their way, and whatever the
//! order in which it sends them again.
//!
//! Limits: [`REFUSED_MAX`] ids a class; a client that sends on regardless is told to reconnect.
//!
//! Thread: the home shard of the publisher.

/// Most refused ids of a class that are awaited. Clients keep at most 1,000 unsettled publishes
/// a class.
pub const REFUSED_MAX: usize = 1_024;

/// More ids were refused than a client may have unsettled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {REFUSED_MAX} refused publishes: send them again before new ones")]
pub struct TooManyRefused;

/// The ids of one class that were refused for now and have not come again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Barrier {
    /// Descending, so that the next one to come is the last.
    refused: Vec<u64>,
}

impl Barrier {
    /// Whether `id` may be accepted now: nothing before it is awaited.
    #[must_use]
    pub fn admits(&self, id: u64) -> bool {
        self.refused.last().is_none_or(|next| id <= *next)
    }

    /// `id` was refused for now.
    ///
    /// # Errors
    /// When too many are awaited; the publisher has to start anew.
    pub fn refused(&mut self, id: u64) -> Result<(), TooManyRefused> {
        if let Err(place) = self.place(id) {
            if self.refused.len() >= REFUSED_MAX {
                return Err(TooManyRefused);
            }
            self.refused.insert(place, id);
        }
        Ok(())
    }

    /// `id` was accepted, or refused for good: it will not come again.
    pub fn passed(&mut self, id: u64) {
        if self.refused.is_empty() {
            return;
        }
        if let Ok(place) = self.place(id) {
            self.refused.remove(place);
        }
    }

    fn place(&self, id: u64) -> Result<usize, usize> {
        self.refused.binary_search_by(|known| id.cmp(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn what_was_under_way_behind_a_refusal_comes_before_what_is_new() {
        let mut barrier = Barrier::default();
        barrier.refused(4).expect("room");
        // Sent before the client heard of it.
        assert!(!barrier.admits(5));
        barrier.refused(5).expect("room");
        assert!(barrier.admits(4));
        barrier.passed(4);
        assert!(!barrier.admits(6), "5 has not come again");
        barrier.refused(6).expect("room");
        assert!(barrier.admits(5));
        barrier.passed(5);
        assert!(barrier.admits(6));
        barrier.passed(6);
        assert!(barrier.admits(7));
        assert_eq!(barrier, Barrier::default());
    }

    #[test]
    fn an_id_refused_for_good_is_not_awaited() {
        let mut barrier = Barrier::default();
        barrier.refused(1).expect("room");
        barrier.passed(9);
        assert!(!barrier.admits(2), "9 is of another class");
        barrier.passed(1);
        assert!(barrier.admits(2));
    }

    #[test]
    fn the_number_of_awaited_ids_is_bounded() {
        let mut barrier = Barrier::default();
        for id in 1..=REFUSED_MAX as u64 {
            assert_eq!(barrier.refused(id), Ok(()));
        }
        assert_eq!(barrier.refused(7), Ok(()), "known already");
        assert_eq!(barrier.refused(2_000), Err(TooManyRefused));
        barrier.passed(1);
        assert_eq!(barrier.refused(2_000), Ok(()));
    }

    /// A client that sends in order and hears answers later, against a server that refuses at
    /// random: what is accepted is in order and complete.
    fn converse(refusals: &[bool], delays: &[u8]) -> Vec<u64> {
        let mut barrier = Barrier::default();
        let mut accepted = Vec::new();
        let mut wire: VecDeque<u64> = (1..=20).collect();
        let mut heard: VecDeque<(usize, u64)> = VecDeque::new();
        let (mut step, mut fresh) = (0, 21);
        while let Some(id) = wire.pop_front() {
            let refuses = refusals.get(step).copied().unwrap_or(false);
            if refuses || !barrier.admits(id) {
                barrier.refused(id).expect("room");
                let after = usize::from(delays.get(step).copied().unwrap_or(0));
                let last = heard.back().map_or(0, |entry| entry.0);
                heard.push_back((last.max(step + after), id));
            } else {
                barrier.passed(id);
                accepted.push(id);
            }
            step += 1;
            let news = heard.front().is_some_and(|entry| entry.0 <= step);
            while let Some((_, id)) = heard.pop_front_if(|entry| entry.0 <= step || wire.is_empty())
            {
                wire.push_back(id);
            }
            if !news && fresh <= 60 {
                wire.push_back(fresh);
                fresh += 1;
            }
        }
        accepted
    }

    proptest! {
        #[test]
        fn accepted_ids_are_complete_and_in_order(
            refusals in prop::collection::vec(prop::bool::weighted(0.3), 0..80),
            delays in prop::collection::vec(0_u8..12, 0..80),
        ) {
            let accepted = converse(&refusals, &delays);
            prop_assert!(accepted.windows(2).all(|pair| pair[0] < pair[1]), "{accepted:?}");
            prop_assert_eq!(accepted.len() as u64, *accepted.last().unwrap_or(&0));
        }
    }
}
