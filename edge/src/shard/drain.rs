//! The end of a shard's service: no new work, everything settled, everybody sent away.
//!
//! Purpose: the main thread sets one [`Course`] for all shards. *Settling* refuses new clients
//! and new publishes for now and tells when nothing is left that waits for the disk; it can be
//! taken back. *Leaving* lets go of the port and sends the clients away with `Reconnect`, each
//! at its own time, so that whoever takes them gets no more in a second than the configured
//! number.
//!
//! Invariants: without new publishes what waits only becomes less, so that shards that have all
//! told that they are settled stay so; an open socket is served and kept alive until its own
//! `Reconnect`.
//!
//! Limits: `drain.reconnects_per_second` for the node, of which each shard has its share; a
//! shard ends at latest [`ShardLimits::stop_ms`](super::limits::ShardLimits) after its last
//! `Reconnect`.
//!
//! Thread: the shard, except [`Direction::set`] and [`Direction::settled`].

use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};

use interlink_protocol::CloseCode;
use interlink_uring::SocketId;

use super::backbone::Backbone;
use super::connection::{CLOSE_WHEN_SENT, CLOSING};
use super::turn::SENDS_PER_TURN;
use super::Shard;

/// How far a shard may be behind its pace and catch up.
const SLACK_NS: u64 = 10_000_000;
/// How long a shard sleeps between two portions of `Reconnect`: half of what it may catch up.
const PORTION_NS: u64 = SLACK_NS / 2;
/// Entries of the table of connections that one turn looks at for whom to send away.
const LOOKED_AT_PER_TURN: u32 = 8_192;

/// What all shards of a node are to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Course {
    /// Serve.
    #[default]
    Serving = 0,
    /// Take nothing new and settle what there is.
    Settling = 1,
    /// Send everybody away and end.
    Leaving = 2,
}

/// The course, shared by the main thread and all shards, with the shards' answers.
#[derive(Debug, Default)]
pub struct Direction {
    course: AtomicU8,
    /// One bit for each settled shard.
    settled: AtomicU64,
}

const _: () = assert!(crate::config::limits::SHARDS_MAX <= 64, "a bit a shard");

impl Direction {
    /// Sets the course; shards see it in their next turn.
    pub fn set(&self, course: Course) {
        self.course.store(course as u8, Ordering::Release);
    }

    /// Whether every one of `shards` has told that it is settled.
    pub fn settled(&self, shards: u16) -> bool {
        let all = u64::MAX >> (64 - u32::from(shards.clamp(1, 64)));
        self.settled.load(Ordering::Acquire) & all == all
    }

    fn get(&self) -> Course {
        match self.course.load(Ordering::Acquire) {
            0 => Course::Serving,
            1 => Course::Settling,
            _ => Course::Leaving,
        }
    }

    fn tell(&self, shard: u16, settled: bool) {
        let bit = 1 << shard;
        match settled {
            true => self.settled.fetch_or(bit, Ordering::AcqRel),
            false => self.settled.fetch_and(!bit, Ordering::AcqRel),
        };
    }
}

/// Spreads something evenly over time, without a burst after a pause.
#[derive(Debug)]
struct Pace {
    interval_ns: u64,
    next_ns: u64,
}

impl Pace {
    /// A share of `1 / shards` of `per_second`. It is kept one twentieth below, so that neither
    /// catching up nor a delay of up to 40 ms on the way makes more of them arrive in any second.
    fn new(per_second: u32, shards: u16) -> Self {
        let interval_ns = 1_050_000_000 * u64::from(shards) / u64::from(per_second.max(1));
        Self {
            interval_ns,
            next_ns: 0,
        }
    }

    /// Takes one; false while none is due.
    fn take(&mut self, now_ns: u64) -> bool {
        self.next_ns = self.next_ns.max(now_ns.saturating_sub(SLACK_NS));
        if self.next_ns > now_ns {
            return false;
        }
        self.next_ns += self.interval_ns;
        true
    }
}

/// How far a shard is.
#[derive(Debug)]
pub struct Drain {
    course: Course,
    has_told: bool,
    has_closed: bool,
    pace: Pace,
    /// Where the search for clients goes on, and how many entries were looked at in vain.
    next: u32,
    in_vain: u32,
    /// Connections that had come when the search began anew.
    known_attachments: u32,
    over_at_ms: u32,
}

impl Drain {
    /// A shard that serves; it will send away its share of `per_second`.
    pub fn new(per_second: u32, shards: u16) -> Self {
        Self {
            course: Course::Serving,
            has_told: false,
            has_closed: false,
            pace: Pace::new(per_second, shards),
            next: 0,
            in_vain: 0,
            known_attachments: 0,
            over_at_ms: 0,
        }
    }

    /// Whether new work is refused.
    pub fn refuses_work(&self) -> bool {
        self.course != Course::Serving
    }

    /// True once: when the listeners are to be closed.
    pub fn closes_listeners(&mut self) -> bool {
        self.course == Course::Leaving && !std::mem::replace(&mut self.has_closed, true)
    }
}

impl Shard {
    /// Looks at the course, at the beginning of a turn, so that the whole turn follows it.
    pub(super) fn take_course(&mut self) {
        let course = self.shared.direction.get();
        if course != self.drain.course {
            self.drain.course = course;
            self.drain.over_at_ms = self.clock.now_ms + self.limits.stop_ms;
        }
    }

    /// Does what the course asks for; says whether the shard has ended.
    pub(super) fn follow_course(&mut self) -> bool {
        match self.drain.course {
            Course::Serving => {
                self.tell_settled(false);
                false
            }
            Course::Settling => {
                let settled = self.is_settled();
                self.tell_settled(settled);
                false
            }
            Course::Leaving => {
                self.send_away();
                self.has_left()
            }
        }
    }

    /// Whether the main thread has set another course since this shard looked. To be asked once
    /// more after it is parked, since only a parked shard is woken.
    pub(super) fn course_has_changed(&self) -> bool {
        self.shared.direction.get() != self.drain.course
    }

    fn tell_settled(&mut self, settled: bool) {
        if self.drain.has_told != settled {
            self.drain.has_told = settled;
            self.shared.direction.tell(self.id, settled);
        }
    }

    /// Whether nothing of this shard waits for the disk or for another shard.
    fn is_settled(&self) -> bool {
        self.journal.is_idle()
            && self.has_taken_over()
            && self.unplaced.is_empty()
            && !self.service.has_work()
            && !self.mesh.has_work()
            && self.backbone.as_ref().is_none_or(Backbone::is_idle)
            && self.cursors.are_kept()
    }

    /// Sends away those whose turn it is.
    fn send_away(&mut self) {
        for _ in 0..LOOKED_AT_PER_TURN {
            // What was ordered and has not left would leave in a burst later.
            if self.has_sent_all_away() || self.ready.len() >= SENDS_PER_TURN {
                return;
            }
            let used = self.connections.used();
            let everybody = self.drain.in_vain >= used;
            if everybody || self.drain.next >= used {
                self.drain.next = 0;
            }
            if everybody {
                self.drain.in_vain = 0;
                self.drain.known_attachments = self.attachments;
                continue;
            }
            let connection = self.drain.next;
            let entry = &self.connections[connection];
            let open = entry.socket != SocketId::NONE;
            if !open || entry.flags & (CLOSE_WHEN_SENT | CLOSING) != 0 {
                self.drain.in_vain += 1;
            } else if self.drain.pace.take(self.clock.now_ns) {
                self.drain.in_vain = 0;
                self.drain.over_at_ms = self.clock.now_ms + self.limits.stop_ms;
                self.send_reconnect(connection);
                self.close_with(connection, CloseCode::Draining);
            } else {
                return;
            }
            self.drain.next += 1;
        }
    }

    /// Whether nobody is left who was not told, and nobody has come since.
    fn has_sent_all_away(&self) -> bool {
        let drain = &self.drain;
        drain.in_vain >= self.connections.used() && drain.known_attachments == self.attachments
    }

    /// When the next clients are to be sent away, in nanoseconds of the monotonic clock.
    pub(super) fn next_portion_ns(&self) -> Option<u64> {
        let waits = self.drain.course == Course::Leaving && !self.has_sent_all_away();
        waits.then_some(self.drain.pace.next_ns + PORTION_NS)
    }

    /// Tells a client that the node goes away. The time of each is its own, so that it need not
    /// wait.
    fn send_reconnect(&mut self, connection: u32) {
        self.counters.reconnects_sent += 1;
        let mut encoder = self.take_encoder();
        let frame = encoder.reconnect(0, None, true);
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }

    /// Whether everybody is gone and everything durable, or the time for that is over.
    fn has_left(&self) -> bool {
        let gone = self.open_connections == 0
            && self.handshakes.unfinished() == 0
            && !self.arrivals.are_waiting();
        let over = self.has_sent_all_away() && self.clock.now_ms >= self.drain.over_at_ms;
        over || (gone && self.journal.is_idle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as a shard does that looks every `look_ns`; the times of what it took.
    fn taken(pace: &mut Pace, looks_ns: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut times = Vec::new();
        for now_ns in looks_ns {
            while pace.take(now_ns) {
                times.push(now_ns);
            }
        }
        times
    }

    /// Most of `times` within any second.
    fn most_in_a_second(times: &[u64]) -> usize {
        let within = |(index, first): (usize, &u64)| {
            times[index..].partition_point(|time| time - first < 1_000_000_000)
        };
        times.iter().enumerate().map(within).max().unwrap_or(0)
    }

    const START_NS: u64 = 77_000_000_000;

    #[test]
    fn a_pace_is_kept_and_never_exceeded_in_any_second() {
        for look_ns in [50_000, 5_000_000, 7_300_000, 40_000_000] {
            let mut pace = Pace::new(5_000, 1);
            let looks = (0..10_000_000_000 / look_ns).map(|look| START_NS + look * look_ns);
            let times = taken(&mut pace, looks);
            let most = most_in_a_second(&times);
            assert!(most <= 5_000, "{most} with a look every {look_ns} ns");
            if look_ns <= SLACK_NS {
                assert!(times.len() >= 47_000, "{} in 10 s", times.len());
            }
        }
    }

    #[test]
    fn a_shard_that_stood_still_does_not_make_up_for_it() {
        let mut pace = Pace::new(1_000, 1);
        let first = (0..1_000).map(|look| START_NS + look * 1_000_000);
        let later = (5_000..6_000).map(|look| START_NS + look * 1_000_000);
        let times = taken(&mut pace, first.chain(later));
        let most = most_in_a_second(&times);
        assert!(most <= 1_000, "{most}");
    }

    #[test]
    fn shards_share_the_pace() {
        let mut pace = Pace::new(5_000, 4);
        let looks = (0..1_000).map(|look| START_NS + look * 1_000_000);
        let count = taken(&mut pace, looks).len();
        assert!((1_180..=1_250).contains(&count), "{count}");
    }

    #[test]
    fn a_node_is_settled_when_each_of_its_shards_is() {
        let direction = Direction::default();
        assert!(!direction.settled(1));
        direction.tell(0, true);
        assert!(direction.settled(1) && !direction.settled(2));
        direction.tell(1, true);
        assert!(direction.settled(2));
        direction.tell(0, false);
        assert!(!direction.settled(2));
        let all = Direction::default();
        (0..64).for_each(|shard| all.tell(shard, true));
        assert!(all.settled(64));
    }
}
