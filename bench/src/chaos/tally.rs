//! What the driver counts while clients work: rates, levels, and how long faults lasted for them.
//!
//! Purpose: the numbers of a result that are no promises. Whether promises were kept is the
//! checker's judgement alone; the count of acknowledged events that have not arrived serves here
//! to know when a run may end.
//! Limits: one byte for each publish of the run.
//!
//! Runs on: any thread; behind one lock, held for one note.

use crate::measure::Latency;
use crate::sys;

/// An event that comes later than this after its publish was held up by a fault.
const LATE_NS: u64 = 250_000_000;
const SECOND_NS: u64 = 1_000_000_000;

const ACKED: u8 = 1;
const ANSWERED: u8 = 2;
/// Above these marks stands how many subscribers have the event.
const SUBSCRIBER: u8 = 4;

/// Acknowledged publishes of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// All of them.
    pub acked: u64,
    /// P1 at the level `local`.
    pub p1_local: u64,
    /// P0 flagged as degraded.
    pub p0_degraded: u64,
}

/// A fault that is under way.
#[derive(Clone, Debug)]
struct Round {
    started_ns: u64,
    /// By channel: how long after its start the last late event came; 0 when none was late.
    repaired_ns: Vec<u64>,
    /// What failed is back, and the same from then on.
    returned: Option<Returned>,
}

/// What happens to events while a failed server comes back.
#[derive(Clone, Debug)]
struct Returned {
    at_ns: u64,
    late_ns: Vec<u64>,
}

/// A publish that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// Payload number.
    pub id: u64,
    /// Number of the channel.
    pub channel: usize,
    /// Class of the channel.
    pub class: usize,
    /// It is on the disk of a node and nothing more.
    pub is_local: bool,
    /// A higher level was wanted.
    pub is_degraded: bool,
}

/// Counts and times.
pub struct Tally {
    /// By payload number.
    events: Vec<u8>,
    started_ns: u64,
    seconds: Vec<Second>,
    /// By channel: its subscribers.
    subscribers: Vec<u8>,
    round: Option<Round>,
    unanswered: u64,
    unseen: u64,
    /// From the publish to the delivery.
    pub delivery: Latency,
    /// From the publish to its answer.
    pub ack: Latency,
    /// From a fault's start to the last late event, for each channel and fault.
    pub repair: Latency,
    /// From the return of what had failed to the last event that became late after it.
    pub after_return: Latency,
    /// From the loss of a connection, or the fault that caused it, to the last subscription that
    /// goes on.
    pub resume: Latency,
    /// Deliveries.
    pub delivered: u64,
    /// Publishes acknowledged.
    pub acked: u64,
    /// Publishes refused for good.
    pub refused: u64,
    /// Connections welcomed in each second of the run.
    pub connects: Vec<u64>,
}

impl Tally {
    /// Counts for channels with so many subscribers each.
    pub fn new(subscribers: Vec<u8>) -> Self {
        Self {
            events: Vec::new(),
            started_ns: sys::monotonic_ns(),
            seconds: Vec::new(),
            subscribers,
            round: None,
            unanswered: 0,
            unseen: 0,
            delivery: Latency::new(),
            ack: Latency::new(),
            repair: Latency::new(),
            after_return: Latency::new(),
            resume: Latency::new(),
            delivered: 0,
            acked: 0,
            refused: 0,
            connects: Vec::new(),
        }
    }

    /// Numbers the next publish.
    pub fn publish(&mut self) -> u64 {
        self.events.push(0);
        self.unanswered += 1;
        self.events.len() as u64
    }

    /// Changes what is known of an event and gives it as it was; of one that nobody published
    /// nothing is known.
    fn change(&mut self, id: u64, change: impl FnOnce(u8) -> u8) -> Option<u8> {
        let event = self.events.get_mut((id as usize).wrapping_sub(1))?;
        let before = *event;
        *event = change(before);
        Some(before)
    }

    fn is_with_all(&self, event: u8, channel: usize) -> bool {
        event / SUBSCRIBER >= self.subscribers[channel]
    }

    fn second(&mut self, now_ns: u64) -> usize {
        (now_ns.saturating_sub(self.started_ns) / SECOND_NS) as usize
    }

    /// Notes an acknowledgement of an event that was published at `scheduled_ns`.
    pub fn ack(&mut self, acked: Acked, scheduled_ns: u64, now_ns: u64) {
        let before = self.change(acked.id, |event| event | ACKED | ANSWERED);
        let Some(before) = before.filter(|event| event & ACKED == 0) else {
            return;
        };
        self.unanswered -= u64::from(before & ANSWERED == 0);
        self.unseen += u64::from(!self.is_with_all(before, acked.channel));
        self.acked += 1;
        self.ack.record_from(scheduled_ns, now_ns);
        let number = self.second(now_ns);
        if self.seconds.len() <= number {
            self.seconds.resize(number + 1, Second::default());
        }
        let second = &mut self.seconds[number];
        second.acked += 1;
        second.p1_local += u64::from(acked.class == 1 && acked.is_local);
        second.p0_degraded += u64::from(acked.class == 0 && acked.is_degraded);
    }

    /// Notes a publish that will have no acknowledgement.
    pub fn give_up(&mut self, id: u64, is_refused: bool) {
        let before = self.change(id, |event| event | ANSWERED);
        self.unanswered -= u64::from(before.is_some_and(|event| event & ANSWERED == 0));
        self.refused += u64::from(is_refused);
    }

    /// Notes a delivery on channel number `channel`.
    pub fn deliver(&mut self, id: u64, channel: usize, scheduled_ns: u64, now_ns: u64) {
        let before = self.change(id, |event| event.saturating_add(SUBSCRIBER));
        if let Some(before) = before.filter(|event| event & ACKED != 0) {
            let after = before.saturating_add(SUBSCRIBER);
            let is_last = !self.is_with_all(before, channel) && self.is_with_all(after, channel);
            self.unseen -= u64::from(is_last);
        }
        self.delivered += 1;
        self.delivery.record_from(scheduled_ns, now_ns);
        if now_ns.saturating_sub(scheduled_ns) < LATE_NS {
            return;
        }
        let Some(round) = &mut self.round else {
            return;
        };
        match &mut round.returned {
            // An event that was late by then is late by the fault, whenever it comes.
            Some(returned) if scheduled_ns + LATE_NS > returned.at_ns => {
                returned.late_ns[channel] = now_ns.saturating_sub(returned.at_ns);
            }
            _ => round.repaired_ns[channel] = now_ns.saturating_sub(round.started_ns),
        }
    }

    /// Notes a welcome.
    pub fn connect(&mut self, now_ns: u64) {
        let number = self.second(now_ns);
        if self.connects.len() <= number {
            self.connects.resize(number + 1, 0);
        }
        self.connects[number] += 1;
    }

    /// A fault begins now.
    pub fn begin_round(&mut self, now_ns: u64) {
        self.round = Some(Round {
            started_ns: now_ns,
            repaired_ns: vec![0; self.subscribers.len()],
            returned: None,
        });
    }

    /// What failed comes back now: events that become late from here on are its doing, and no
    /// part of the repair.
    pub fn begin_return(&mut self, now_ns: u64) {
        if let Some(round) = &mut self.round {
            round.returned = Some(Returned {
                at_ns: now_ns,
                late_ns: vec![0; self.subscribers.len()],
            });
        }
    }

    /// When the fault that is under way began.
    pub fn fault_ns(&self) -> Option<u64> {
        self.round.as_ref().map(|round| round.started_ns)
    }

    /// The fault and its consequences are over: the longest time that a channel waited for its
    /// repair, in milliseconds.
    pub fn end_round(&mut self) -> f64 {
        let Some(round) = self.round.take() else {
            return 0.0;
        };
        let returned = round.returned.iter().flat_map(|it| &it.late_ns);
        returned
            .filter(|&&time| time > 0)
            .for_each(|&time| self.after_return.record(time));
        let late = round.repaired_ns.iter().filter(|&&time| time > 0);
        let longest = late.inspect(|&&time| self.repair.record(time)).max();
        longest.map_or(0.0, |&time| time as f64 / 1e6)
    }

    /// Publishes without an answer.
    pub fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// Acknowledged events that some subscriber has not got (yet).
    pub fn unseen(&self) -> u64 {
        self.unseen
    }

    /// Whole seconds from `from_ns` to `to_ns`, those without an acknowledgement too.
    pub fn between(&self, from_ns: u64, to_ns: u64) -> Vec<Second> {
        let place = |time: u64, spare: u64| {
            let passed = time.saturating_sub(self.started_ns) + spare;
            (passed / SECOND_NS) as usize
        };
        let seconds = place(from_ns, SECOND_NS - 1)..place(to_ns, 0);
        let second = |number| self.seconds.get(number).copied();
        seconds
            .map(|number| second(number).unwrap_or_default())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(id: u64) -> Acked {
        Acked {
            id,
            channel: 0,
            class: 1,
            is_local: true,
            is_degraded: false,
        }
    }

    #[test]
    fn what_is_open_is_known_in_whatever_order_answers_and_events_come() {
        let mut tally = Tally::new(vec![1]);
        for id in 1..=4 {
            assert_eq!(tally.publish(), id);
        }
        tally.ack(local(1), 0, 10);
        assert_eq!((tally.unanswered(), tally.unseen()), (3, 1));
        tally.deliver(1, 0, 0, 20);
        tally.deliver(1, 0, 0, 20);
        tally.deliver(2, 0, 0, 20);
        tally.ack(local(2), 0, 30);
        tally.ack(local(2), 0, 30);
        assert_eq!((tally.unanswered(), tally.unseen()), (2, 0));
        tally.give_up(3, true);
        tally.give_up(3, false);
        tally.ack(local(4), 0, 30);
        assert_eq!(
            (tally.unanswered(), tally.unseen(), tally.refused),
            (0, 1, 1)
        );
        assert_eq!((tally.acked, tally.delivered), (3, 3));
    }

    #[test]
    fn an_event_is_seen_when_every_subscriber_has_it() {
        let mut tally = Tally::new(vec![2, 0]);
        tally.publish();
        tally.ack(local(1), 0, 10);
        tally.deliver(1, 0, 0, 20);
        assert_eq!(tally.unseen(), 1);
        tally.deliver(1, 0, 0, 20);
        assert_eq!(tally.unseen(), 0);
        tally.publish();
        let nobody = Acked {
            channel: 1,
            ..local(2)
        };
        tally.ack(nobody, 0, 10);
        assert_eq!(tally.unseen(), 0);
    }

    #[test]
    fn a_round_ends_with_the_last_late_event_of_each_channel() {
        let mut tally = Tally::new(vec![1; 3]);
        tally.begin_round(1_000_000_000);
        tally.deliver(9, 0, 1_100_000_000, 1_200_000_000);
        tally.deliver(9, 1, 1_100_000_000, 3_000_000_000);
        tally.deliver(9, 1, 1_200_000_000, 3_500_000_000);
        tally.deliver(9, 2, 1_000_000_000, 2_000_000_000);
        assert!((tally.end_round() - 2_500.0).abs() < 1.0);
        assert_eq!(tally.repair.count(), 2);
        assert_eq!(tally.end_round(), 0.0);
    }

    #[test]
    fn what_was_late_before_a_return_is_late_by_the_fault_and_the_rest_by_the_return() {
        let at = |ms: u64| ms * 1_000_000;
        let mut tally = Tally::new(vec![1; 3]);
        tally.begin_round(at(1_000));
        tally.deliver(9, 0, at(1_100), at(2_000));
        tally.begin_return(at(5_000));
        tally.deliver(9, 0, at(4_900), at(5_200));
        tally.deliver(9, 1, at(5_100), at(5_900));
        tally.deliver(9, 2, at(4_700), at(6_000));
        assert!((tally.end_round() - 5_000.0).abs() < 10.0);
        assert_eq!(tally.repair.count(), 2);
        assert_eq!(tally.after_return.count(), 2);
        assert!((tally.after_return.percentile_ms(100.0) - 900.0).abs() < 2.0);
    }

    #[test]
    fn only_whole_seconds_count_for_a_lowest_rate() {
        let mut tally = Tally::new(vec![1]);
        let start = tally.started_ns;
        for id in 1..=6_u64 {
            tally.publish();
            tally.ack(local(id), start, start + id * 500_000_000);
        }
        let seconds = tally.between(start + 200_000_000, start + 2_900_000_000);
        let acked: Vec<u64> = seconds.iter().map(|second| second.acked).collect();
        assert_eq!(acked, [2]);
        let late = tally.between(start + 3 * SECOND_NS, start + 6 * SECOND_NS);
        let acked: Vec<u64> = late.iter().map(|second| second.acked).collect();
        assert_eq!(acked, [1, 0, 0]);
        assert!(tally.between(start + SECOND_NS, start).is_empty());
    }
}
