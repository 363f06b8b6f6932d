//! One wanted channel.
//!
//! Purpose: where a subscription stands, where it continues, and what the application takes of it.
//! Invariants: a muted channel takes nothing and reports nothing; its track stays where it was.
//! Runs on: any thread; clock and randomness come in as arguments.

use interlink_protocol::ids::Position;
use interlink_protocol::priority::Priority;

use super::{Outcome, SubscribeOptions};
use crate::event::{GapReason, Recovery};
use crate::limits;
use crate::session::reconnect::{Backoff, BackoffPolicy, NextTry};
use crate::session::track::Track;

/// Where the subscription stands at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be asked for.
    Wanted,
    /// Asked for, no answer yet.
    Asked { request: u32 },
    /// Accepted.
    Live,
    /// Left while its subscriber lags.
    Paused,
}

#[derive(Clone, Debug)]
pub(super) struct Desired {
    pub(super) class: Priority,
    pub(super) options: SubscribeOptions,
    pub(super) phase: Phase,
    /// The subscriber lags, and the subscription stays for the right to publish that its token
    /// grants: what arrives is left for the recovery that follows.
    pub(super) muted: bool,
    pub(super) track: Track,
    pub(super) asked_from: Option<Position>,
    /// Position that the `Hello` of this connection named.
    pub(super) offered: Option<Position>,
    pub(super) accepted_once: bool,
    pub(super) retry_at_ms: u64,
    pub(super) retries: Backoff,
}

impl Desired {
    pub(super) fn new(class: Priority, options: SubscribeOptions) -> Self {
        Self {
            class,
            options,
            phase: Phase::Wanted,
            muted: false,
            track: Track::default(),
            asked_from: None,
            offered: None,
            accepted_once: false,
            retry_at_ms: 0,
            retries: Backoff::new(retry_policy()),
        }
    }

    /// Where to continue: what was seen, else what the application named; nowhere while muted.
    pub(super) fn continue_from(&self) -> Option<Position> {
        let from = self.track.position().or(self.options.recover);
        from.filter(|_| !self.muted)
    }

    /// Whether the server has the subscription, or will when it reads what was sent.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.phase, Phase::Asked { .. } | Phase::Live)
    }

    /// Whether what arrives is taken.
    pub(super) fn takes(&self) -> bool {
        self.phase == Phase::Live && !self.muted
    }

    /// Whether a publish to the channel would come before the grant of the token.
    pub(super) fn awaits_grant(&self) -> bool {
        let open = matches!(self.phase, Phase::Wanted | Phase::Asked { .. });
        open && self.options.token.is_some()
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.phase == Phase::Wanted && self.retry_at_ms <= now_ms
    }

    pub(super) fn go_live(&mut self, position: Option<Position>, recovery: Recovery) -> Outcome {
        let first = !self.accepted_once;
        self.phase = Phase::Live;
        self.accepted_once = true;
        self.retries.reset();
        if self.muted {
            return Outcome::Live {
                first,
                recovery: None,
            };
        }
        let wanted = self.asked_from.is_some();
        match (recovery.recovered, self.asked_from) {
            // What follows starts right after the wanted position.
            (true, Some(from)) => self.track.pin(Some(from)),
            // The server chose a start of its own: the first event tells which.
            (true, None) if recovery.following > 0 => self.track.pin(None),
            _ => self.track.pin(position),
        }
        // A channel with a cursor continues there without a wish; that it does not is news too.
        let tells = wanted || recovery.recovered || recovery.reason != GapReason::None;
        Outcome::Live {
            first,
            recovery: tells.then_some(recovery),
        }
    }

    pub(super) fn retry(&mut self, retry_after_ms: u32, now_ms: u64, random: u64) {
        let delay_ms = match self.retries.next_try(random) {
            NextTry::Soon { delay_ms, .. } | NextTry::Suspended { delay_ms } => delay_ms,
        };
        let named = u64::from(retry_after_ms).min(limits::RETRY_AFTER_MAX_MS);
        self.phase = Phase::Wanted;
        self.retry_at_ms = now_ms + named + delay_ms;
    }
}

/// Retries of a refused subscription never end by themselves; they only become rare.
fn retry_policy() -> BackoffPolicy {
    BackoffPolicy {
        first_ms: limits::SUBSCRIBE_RETRY_FIRST_MS,
        max_ms: limits::SUBSCRIBE_RETRY_MAX_MS,
        attempts: u32::MAX,
        suspended_ms: limits::SUBSCRIBE_RETRY_MAX_MS,
    }
}
