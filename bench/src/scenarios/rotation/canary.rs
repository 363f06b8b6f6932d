//! One client that asks the edge again and again whether it takes tokens of a key, until the
//! answer is the wanted one: how an issuer learns that a new key is known everywhere before it
//! signs with it, and that an old one is forgotten.
//!
//! Runs on: the generator's thread.

use crate::engine::{EndCause, Link};

/// Time between an answer and the next question.
const PAUSE_NS: u64 = 100_000_000;

/// The client and its question.
#[derive(Debug, Default)]
pub struct Canary {
    /// Its number in the fleet.
    pub client: u32,
    /// The key that signs its tokens.
    pub key: usize,
    /// Whether its token should be taken; `None` without a question.
    wanted: Option<bool>,
    asked_ns: u64,
    next_ns: u64,
    /// A question is under way, since this time.
    pub trying_ns: Option<u64>,
    /// Milliseconds from the question to the wanted answer.
    pub took_ms: Option<f64>,
    /// How the last refusal ended the connection.
    pub refusal: Option<EndCause>,
}

impl Canary {
    /// A client without a question.
    pub fn of(client: u32) -> Self {
        Self {
            client,
            ..Self::default()
        }
    }

    /// Asks until tokens of a key are taken, or are not.
    pub fn ask(&mut self, link: &mut Link, key: usize, wanted: bool) {
        link.disconnect(self.client);
        self.key = key;
        self.wanted = Some(wanted);
        self.asked_ns = link.now_ns;
        self.next_ns = link.now_ns;
        self.trying_ns = None;
        self.took_ms = None;
    }

    /// Asks when it is time to; when it will be.
    pub fn on_turn(&mut self, link: &mut Link) -> u64 {
        if self.wanted.is_none() || self.trying_ns.is_some() {
            return u64::MAX;
        }
        if link.now_ns < self.next_ns {
            return self.next_ns;
        }
        self.trying_ns = Some(link.now_ns);
        link.connect(self.client);
        u64::MAX
    }

    /// The token was taken.
    pub fn on_live(&mut self, link: &mut Link) {
        if self.wanted.is_some() {
            link.disconnect(self.client);
            self.on_answer(link.now_ns, true);
        }
    }

    /// The connection ended.
    pub fn on_end(&mut self, link: &Link, cause: EndCause) {
        self.refusal = Some(cause);
        self.on_answer(link.now_ns, false);
    }

    fn on_answer(&mut self, now_ns: u64, is_taken: bool) {
        self.trying_ns = None;
        self.next_ns = now_ns + PAUSE_NS;
        if self.wanted == Some(is_taken) {
            self.wanted = None;
            self.took_ms = Some(now_ns.saturating_sub(self.asked_ns) as f64 / 1e6);
        }
    }
}
