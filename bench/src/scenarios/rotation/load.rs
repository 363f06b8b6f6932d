//! Traffic of the rotation scenario: that of the crash scenario, by clients whose tokens live
//! shortly, and the times at which the edge did what it has to.
//!
//! Invariants: a token is signed when it is needed, by the key of the moment; it is replaced when
//! three quarters of its life are over, as an SDK does; a connection that ends and whose token did
//! not is a dropped session.
//!
//! Runs on: the generator's thread.

use super::canary::Canary;
use super::joins::{Joins, Replaced};
use crate::engine::template::FrameWriter;
use crate::engine::tls::Secured;
use crate::engine::token::{Grants, Signer};
use crate::engine::{EndCause, Link, Workload};
use crate::measure::Latency;
use crate::scenarios::crash_load::CrashLoad;
use crate::scenarios::settle::{Counted, Ends};
use crate::sys;
use interlink_protocol::frame::{decode_server, FrameLimits, ServerFrame};
use interlink_protocol::CloseCode;
use interlink_wire as wire;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Part of a token's life after which it is replaced.
const REFRESH_AFTER: f64 = 0.75;
/// Rest after a refusal for now.
const RETRY_NS: u64 = 1_000_000_000;
/// Last tokens that one turn hands out: signing takes some 30 us each.
const LAST_PER_TURN: usize = 8;
/// First request id of a refresh; those of subscriptions are below.
const REQUESTS_FROM: u32 = 1_000;

/// Numbers of clients, in the order in which they are in the fleet; one canary follows.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// Users who publish, subscribe and replace their tokens.
    pub refreshing: u32,
    /// Back ends who publish, and replace their tokens.
    pub services: u32,
    /// Users who let their tokens end.
    pub expiring: u32,
    /// Users who come and go.
    pub joining: u32,
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Refreshing,
    Service,
    Expiring,
    Joining,
    Canary,
}

impl Cast {
    fn role(&self, client: u32) -> Role {
        let mut from = 0;
        for (role, count) in [
            (Role::Refreshing, self.refreshing),
            (Role::Service, self.services),
            (Role::Expiring, self.expiring),
            (Role::Joining, self.joining),
        ] {
            from += count;
            if client < from {
                return role;
            }
        }
        Role::Canary
    }
}

/// The token of a client.
#[derive(Clone, Copy, Debug)]
struct Holder {
    role: Role,
    /// Last request for a new one.
    request: u32,
    /// When it was sent; 0 while none is under way.
    sent_ns: u64,
    /// When the last token that was taken ends, in seconds since 1970.
    until_s: u64,
    /// The same of the one under way.
    wanted_s: u64,
    /// The key that signed the one under way.
    key: usize,
    /// It will not be replaced any more.
    is_last: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Connections that ended although their token did not.
    pub dropped: u64,
    /// How the first of them did.
    pub first_drop: Option<EndCause>,
    /// Tokens that were replaced.
    pub refreshes: u64,
    /// Of them, those that the second key signed.
    pub refreshed_with_new_key: u64,
    /// Refusals of new tokens.
    pub refreshes_refused: u64,
    /// Subscriptions that ended with a new token.
    pub subscriptions_ended: u64,
    /// Connections that ended with their token, but not by the code for that.
    pub expired_wrong_codes: u64,
    /// Connections that were ended before their token did.
    pub expired_early: u64,
    /// TLS handshakes.
    pub handshakes: u64,
}

/// The traffic.
pub struct RotationLoad {
    /// Events and their checks.
    pub traffic: CrashLoad,
    /// Clients that come and go.
    pub joins: Joins,
    /// Which certificate handshakes got.
    pub certificate: Replaced,
    /// Asks whether a key is known.
    pub canary: Canary,
    /// The key that signs.
    pub key: usize,
    /// Life of a token.
    pub life_s: u64,
    /// What was found.
    pub found: Found,
    /// From a request for a new token to its answer.
    pub refresh: Latency,
    /// From the end of a token to the end of its connection.
    pub expired: Latency,
    holders: Vec<Holder>,
    signers: [Signer; 2],
    /// Unix time less monotonic time, in nanoseconds.
    epoch_ns: u64,
    /// Clients whose tokens are replaced next, in order.
    due: VecDeque<(u64, u32)>,
    /// The same for those that were refused for now.
    again: VecDeque<(u64, u32)>,
    /// Clients that get their last token, with its end.
    last: VecDeque<(u32, u64)>,
}

impl RotationLoad {
    /// The traffic of a cast whose tokens two keys sign in turn; the new certificate is known.
    pub fn new(traffic: CrashLoad, cast: Cast, signers: [Signer; 2], certificate: &[u8]) -> Self {
        let count = traffic.users.len() as u32;
        let holder = |client| Holder {
            role: cast.role(client),
            request: REQUESTS_FROM,
            sent_ns: 0,
            until_s: 0,
            wanted_s: 0,
            key: 0,
            is_last: false,
        };
        let joins_from = cast.refreshing + cast.services + cast.expiring;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ns = unix.map_or(0, |since| since.as_nanos() as u64);
        Self {
            joins: Joins::of(joins_from..joins_from + cast.joining),
            certificate: Replaced::by(certificate),
            canary: Canary::of(joins_from + cast.joining),
            key: 0,
            life_s: 60,
            found: Found::default(),
            refresh: Latency::new(),
            expired: Latency::new(),
            holders: (0..count).map(holder).collect(),
            signers,
            epoch_ns: unix_ns.saturating_sub(sys::monotonic_ns()),
            due: VecDeque::new(),
            again: VecDeque::new(),
            last: VecDeque::new(),
            traffic,
        }
    }

    /// Gives those that expire their last tokens, which end within a part of the run.
    pub fn let_expire(&mut self, started_ns: u64, seconds: f64, within: Range<f64>) {
        let expiring = self.holders.iter().enumerate();
        let expiring: Vec<u32> = expiring
            .filter(|(_, holder)| holder.role == Role::Expiring)
            .map(|(client, _)| client as u32)
            .collect();
        let count = expiring.len() as f64;
        for (number, client) in expiring.into_iter().enumerate() {
            let part = within.start + (within.end - within.start) * number as f64 / count;
            let end_ns = started_ns + self.epoch_ns + (seconds * part * 1e9) as u64;
            self.last.push_back((client, end_ns / 1_000_000_000));
        }
    }

    /// Clients whose token should have ended, and whose connection has not.
    pub fn not_expired(&self) -> u64 {
        let expiring = self.holders.iter();
        let expiring = expiring
            .filter(|holder| holder.role == Role::Expiring)
            .count() as u64;
        expiring
            - (self.expired.count() + self.found.expired_wrong_codes + self.found.expired_early)
    }

    /// A token of a client. One that could not be signed is empty, and is refused.
    pub(super) fn sign(&self, client: u32, key: usize, until_s: u64) -> String {
        let user = &self.traffic.users[client as usize].name;
        let roles: &[&str] = match self.holders[client as usize].role {
            Role::Service => &["service"],
            _ => &[],
        };
        let token = self.signers[key].user_until(user, &Grants::member(roles), until_s);
        token.unwrap_or_default()
    }

    /// The end of a token that is signed now; its last second is a whole one.
    pub(super) fn until_s(&self, now_ns: u64) -> u64 {
        (self.epoch_ns + now_ns) / 1_000_000_000 + 1 + self.life_s
    }

    /// Asks for a token to be replaced by one that ends at this second.
    fn replace(&mut self, link: &mut Link, client: u32, until_s: u64) {
        let token = self.sign(client, self.key, until_s);
        let key = self.key;
        let holder = &mut self.holders[client as usize];
        holder.request += 1;
        holder.sent_ns = link.now_ns;
        holder.wanted_s = until_s;
        holder.key = key;
        let request = holder.request;
        link.write(client, |writer, out| {
            writer.append(out, |encoder| encoder.refresh(request, &token));
        });
    }

    /// Replaces the tokens that are due; when the next one is.
    fn replace_due(&mut self, link: &mut Link) -> u64 {
        let mut wake_ns = u64::MAX;
        for is_again in [false, true] {
            loop {
                let queue = if is_again {
                    &mut self.again
                } else {
                    &mut self.due
                };
                let Some(&(due_ns, client)) = queue.front() else {
                    break;
                };
                if due_ns > link.now_ns {
                    wake_ns = wake_ns.min(due_ns);
                    break;
                }
                queue.pop_front();
                let holder = &self.holders[client as usize];
                if !holder.is_last && holder.sent_ns == 0 && link.is_live(client) {
                    let until_s = self.until_s(link.now_ns);
                    self.replace(link, client, until_s);
                }
            }
        }
        wake_ns
    }

    /// Hands out last tokens, some in each turn; when to go on.
    fn hand_out_last(&mut self, link: &mut Link) -> u64 {
        for _ in 0..LAST_PER_TURN {
            let Some((client, until_s)) = self.last.pop_front() else {
                return u64::MAX;
            };
            if self.holders[client as usize].sent_ns != 0 {
                // A replacement is under way, whose answer comes first.
                self.last.push_back((client, until_s));
                continue;
            }
            self.holders[client as usize].is_last = true;
            self.replace(link, client, until_s);
        }
        link.now_ns + 1_000_000
    }

    fn on_replaced(&mut self, link: &Link, client: u32, answer: &wire::Subscribed<'_>) {
        let holder = &mut self.holders[client as usize];
        if holder.sent_ns != 0 && answer.request_id() == holder.request {
            self.found.subscriptions_ended += answer.channels().len() as u64;
            self.take_replacement(link, client);
        }
    }

    /// The token under way was taken.
    pub(super) fn take_replacement(&mut self, link: &Link, client: u32) {
        let holder = &mut self.holders[client as usize];
        self.refresh.record_from(holder.sent_ns, link.now_ns);
        holder.sent_ns = 0;
        holder.until_s = holder.wanted_s;
        self.found.refreshes += 1;
        self.found.refreshed_with_new_key += u64::from(holder.key == 1);
        self.plan_next(link.now_ns, client);
    }

    fn plan_next(&mut self, now_ns: u64, client: u32) {
        let after_ns = (self.life_s as f64 * REFRESH_AFTER * 1e9) as u64;
        self.due.push_back((now_ns + after_ns, client));
    }

    fn on_error(&mut self, link: &Link, client: u32, error: &wire::Error<'_>) {
        let holder = &mut self.holders[client as usize];
        if holder.sent_ns == 0 || error.request_id() != holder.request {
            return;
        }
        holder.sent_ns = 0;
        self.found.refreshes_refused += 1;
        if error.temporary() {
            self.again.push_back((link.now_ns + RETRY_NS, client));
        }
    }

    /// A connection ended that nobody closed here.
    fn note_end(&mut self, link: &Link, client: u32, cause: EndCause) {
        let holder = self.holders[client as usize];
        let is_expiring = holder.is_last && holder.sent_ns == 0;
        match holder.role {
            Role::Canary => self.canary.on_end(link, cause),
            Role::Expiring if is_expiring => {
                let now_ns = self.epoch_ns + link.now_ns;
                let end_ns = holder.until_s * 1_000_000_000;
                if cause != EndCause::CloseFrame(CloseCode::TokenExpired.number()) {
                    self.found.expired_wrong_codes += 1;
                } else if now_ns < end_ns {
                    self.found.expired_early += 1;
                } else {
                    self.expired.record_from(end_ns, now_ns);
                }
            }
            _ => {
                self.found.dropped += 1;
                self.found.first_drop.get_or_insert(cause);
            }
        }
    }
}

impl Workload for RotationLoad {
    fn on_turn(&mut self, link: &mut Link) -> u64 {
        self.traffic
            .on_turn(link)
            .min(self.replace_due(link))
            .min(self.hand_out_last(link))
            .min(self.joins.on_turn(link))
            .min(self.canary.on_turn(link))
    }

    fn on_secured(&mut self, link: &mut Link, client: u32, secured: Secured<'_>) {
        self.found.handshakes += 1;
        let begun_ns = match self.holders[client as usize].role {
            Role::Joining => self.joins.begun_ns(client),
            Role::Canary => self.canary.trying_ns.unwrap_or(0),
            _ => 0,
        };
        let certificate = secured.certificate;
        self.certificate.note(begun_ns, link.now_ns, certificate);
    }

    fn hello(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        let is_canary = self.holders[client as usize].role == Role::Canary;
        let key = if is_canary { self.canary.key } else { self.key };
        let until_s = self.until_s(sys::monotonic_ns());
        let holder = &mut self.holders[client as usize];
        holder.until_s = until_s;
        // The answer to what an earlier connection asked for will not come.
        holder.sent_ns = 0;
        self.traffic.users[client as usize].token = self.sign(client, key, until_s);
        self.traffic.hello(client, writer, out);
    }

    fn subscribe(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        self.traffic.subscribe(client, writer, out);
    }

    fn on_live(&mut self, link: &mut Link, client: u32) {
        match self.holders[client as usize].role {
            Role::Canary => self.canary.on_live(link),
            _ => self.plan_next(link.now_ns, client),
        }
        self.traffic.on_live(link, client);
    }

    fn on_frame(&mut self, link: &mut Link, client: u32, kind: wire::Body, frame: &[u8]) {
        match kind {
            wire::Body::Subscribed => {
                let answer = decode_server(frame, &FrameLimits::SERVER);
                if let Ok(ServerFrame::Subscribed(answer)) = answer {
                    self.on_replaced(link, client, &answer);
                }
            }
            wire::Body::Error => {
                let error = decode_server(frame, &FrameLimits::SERVER);
                if let Ok(ServerFrame::Error(error)) = error {
                    self.on_error(link, client, &error);
                }
            }
            _ => {}
        }
        self.traffic.on_frame(link, client, kind, frame);
    }

    fn on_end(&mut self, link: &mut Link, client: u32, cause: EndCause) {
        self.note_end(link, client, cause);
        self.traffic.on_end(link, client, cause);
    }
}

impl Counted for RotationLoad {
    fn ends(&self) -> &Ends {
        self.traffic.ends()
    }
}
