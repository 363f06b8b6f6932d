//! What other nodes tell here of one scope: how far each of them is.
//!
//! Purpose: a node is asked, and asked again every [`LEASE_RENEW_MS`], since an ask is a lease that
//! ends. Its answers are a stream of parts, of which each begins where the one before it ended;
//! what does not follow is asked for again. A node that has forgotten what it had told begins a new
//! stream, which gets a source of its own: what only the old source has is gone at the end of the
//! first answer.
//!
//! Invariants: a part of another stream is taken only as the beginning of the answer to the newest
//! ask, so that nothing of before comes back.
//! Runs on: the thread of the table.

use std::collections::BTreeMap;

use super::member::Source;
use super::message::Part;
use crate::backplane::NodeId;
use crate::limits::{LEASE_MS, LEASE_RENEW_MS, PRESENCE_ASK_AGAIN_MS, PRESENCE_REPEAT_MS};

/// What is known of all other nodes.
#[derive(Debug, Default)]
pub(super) struct Asking {
    pub(super) nodes: BTreeMap<NodeId, Heard>,
    /// Whether all have told what they have, or need not be waited for.
    pub(super) is_ready: bool,
    /// When it is looked who has to be asked.
    pub(super) look_ms: Option<u64>,
}

impl Asking {
    /// When somebody has to be asked next, if nothing is heard until then.
    pub(super) fn next_look_ms(&self) -> Option<u64> {
        self.nodes.values().map(Heard::next_ask_ms).min()
    }

    /// Whether users count at a source.
    pub(super) fn counts_at(&self, source: Source) -> bool {
        let mut nodes = self.nodes.values();
        nodes.any(|heard| heard.source == source || heard.stale.contains(&source))
    }

    /// Whether the word of somebody is missing, or of before the backplane came back.
    pub(super) fn is_unsure(&self) -> bool {
        let mut nodes = self.nodes.values();
        nodes.any(|heard| !heard.is_silent && heard.confirmed_ms.is_none())
    }

    /// Whether nobody has to be waited for.
    pub(super) fn is_whole(&self) -> bool {
        let mut nodes = self.nodes.values();
        nodes.all(|heard| heard.is_whole || heard.is_silent)
    }
}

/// What a node has told.
#[derive(Debug)]
pub(super) struct Heard {
    /// Where the users of the stream are counted.
    pub(super) source: Source,
    /// Sources of streams before it, whose users count until this one has told everything.
    pub(super) stale: Vec<Source>,
    /// The stream; 0 when none is known.
    pub(super) stream: u64,
    /// How far it is known.
    pub(super) version: u64,
    /// Number of the newest ask; 0 before there was one.
    pub(super) number: u64,
    /// When that was sent.
    asked_ms: u64,
    /// Since when asks are not answered.
    unanswered_ms: Option<u64>,
    /// As of when it is known what the node has: it was asked then.
    pub(super) confirmed_ms: Option<u64>,
    /// Whether it has told everything once.
    pub(super) is_whole: bool,
    /// Whether it does not answer.
    pub(super) is_silent: bool,
    /// Whether an ask waits to be sent.
    pub(super) is_listed: bool,
    /// Whether it is asked again as soon as that may be.
    pub(super) is_wanted: bool,
}

/// What becomes of a part.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// It says nothing new.
    Old,
    /// Something before it is missing.
    Gap,
    /// Its users count.
    Next,
    /// Its users count, and it is the first of a stream: nothing is known of what happened
    /// between the streams.
    First,
}

impl Heard {
    /// A node that has not been asked.
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            stale: Vec::new(),
            stream: 0,
            version: 0,
            number: 0,
            asked_ms: 0,
            unanswered_ms: None,
            confirmed_ms: None,
            is_whole: false,
            is_silent: false,
            is_listed: false,
            is_wanted: false,
        }
    }

    /// When it may be asked again.
    pub(super) fn may_ask_ms(&self) -> u64 {
        match self.number {
            0 => 0,
            _ => self.asked_ms + PRESENCE_ASK_AGAIN_MS,
        }
    }

    /// When it has to be asked again.
    pub(super) fn next_ask_ms(&self) -> u64 {
        match (self.is_wanted, self.unanswered_ms) {
            (true, _) => self.may_ask_ms(),
            (_, Some(_)) if !self.is_silent => self.asked_ms + PRESENCE_REPEAT_MS,
            // Asks of all scopes leave together.
            _ => (self.asked_ms + LEASE_RENEW_MS) / PRESENCE_ASK_AGAIN_MS * PRESENCE_ASK_AGAIN_MS,
        }
    }

    /// An ask leaves.
    pub(super) fn ask(&mut self, number: u64, now_ms: u64) {
        (self.number, self.asked_ms) = (number, now_ms);
        (self.is_listed, self.is_wanted) = (false, false);
        self.unanswered_ms.get_or_insert(now_ms);
    }

    /// Asks could not arrive for a while, and what is known may be old.
    pub(super) fn doubt(&mut self) {
        self.unanswered_ms = None;
        self.confirmed_ms = None;
    }

    /// Whether it has not answered for a lease.
    pub(super) fn is_overdue(&self, now_ms: u64) -> bool {
        let since_ms = self.unanswered_ms;
        !self.is_silent && since_ms.is_some_and(|at_ms| now_ms >= at_ms + LEASE_MS)
    }

    /// It does not answer: its sources, which count no more. What it tells later is a stream of
    /// its own.
    pub(super) fn fall_silent(&mut self, fresh: Source) -> Vec<Source> {
        self.is_silent = true;
        self.confirmed_ms = None;
        (self.stream, self.version) = (0, 0);
        let mut gone = std::mem::take(&mut self.stale);
        gone.push(std::mem::replace(&mut self.source, fresh));
        gone
    }

    /// Whether a part begins a stream that takes the place of a known one.
    pub(super) fn begins_anew(&self, part: &Part) -> bool {
        let is_other = part.stream != self.stream && self.stream != 0;
        is_other && part.number == self.number && part.from == 0
    }

    /// Takes the head of a part. `fresh` is the source of one that begins anew.
    pub(super) fn take(&mut self, part: &Part, fresh: Option<Source>) -> Taken {
        if part.number > self.number {
            // Nobody has asked that.
            return Taken::Old;
        }
        let mut taken = Taken::Next;
        if part.stream != self.stream {
            if part.number != self.number {
                return Taken::Old;
            }
            if part.from != 0 {
                return Taken::Gap;
            }
            taken = self.begin(part.stream, fresh);
        }
        self.unanswered_ms = None;
        self.is_silent = false;
        if part.from > self.version {
            return Taken::Gap;
        }
        if part.to < self.version {
            return Taken::Old;
        }
        let is_known = part.to == self.version && taken == Taken::Next;
        self.version = part.to;
        self.is_whole |= part.is_end;
        if part.is_end && part.number == self.number {
            self.confirmed_ms = Some(self.asked_ms);
        }
        match is_known {
            true => Taken::Old,
            false => taken,
        }
    }

    fn begin(&mut self, stream: u64, fresh: Option<Source>) -> Taken {
        if let Some(fresh) = fresh {
            self.stale.push(std::mem::replace(&mut self.source, fresh));
        }
        (self.stream, self.version) = (stream, 0);
        self.confirmed_ms = None;
        self.is_whole = false;
        Taken::First
    }
}
