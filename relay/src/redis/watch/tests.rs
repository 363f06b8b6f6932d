//! A channel against a server in memory that loses its end, and against a pub/sub that drops,
//! repeats and delays.

use proptest::prelude::*;

use super::*;
use interlink_protocol::priority::Priority;

/// A stream and its server: what `functions.lua` does to one channel.
#[derive(Clone, Default)]
struct Stream {
    epoch: u64,
    events: Vec<RecoveredEvent>,
}

impl Stream {
    fn top(&self) -> Position {
        let last = self.events.last().map(|event| event.placement.position);
        Position {
            epoch: self.epoch,
            ..last.unwrap_or(Position::ZERO)
        }
    }

    /// Places a record unless it is there.
    fn publish(&mut self, record: u64) -> Option<RecoveredEvent> {
        let record = RecordId(u128::from(record));
        if self.events.iter().any(|event| event.record == record) {
            return None;
        }
        let top = self.top();
        self.events.push(RecoveredEvent {
            placement: Placement {
                position: top.after(record),
                previous_chain: top.chain,
            },
            record,
            class: Priority::P1,
            accepted_at_us: 0,
            frame: Box::default(),
        });
        self.events.last().cloned()
    }

    /// Another server, which lacks the last events, takes over.
    fn fail_over(&mut self, lost: usize) {
        let kept = self.events.len().saturating_sub(lost);
        self.events.truncate(kept);
        self.epoch += 1;
    }

    fn range(&self, from: u64, most: usize, kept: usize) -> Range {
        let trimmed = self.events.len().saturating_sub(kept);
        let events = self.events.iter().skip(trimmed);
        Range {
            top: self.top(),
            events: events
                .filter(|event| event.placement.position.offset >= from)
                .take(most)
                .cloned()
                .collect(),
        }
    }
}

/// A channel and what it said.
#[derive(Default)]
struct Listener {
    watch: Watch,
    position: Position,
    records: Vec<u64>,
    skipped: u64,
    /// The reading that is wanted.
    wanted: Option<u64>,
}

impl Listener {
    fn opened(stream: &Stream) -> Self {
        let mut listener = Self {
            position: stream.top(),
            ..Self::default()
        };
        let mut acts = Vec::new();
        listener.watch.open(stream.top(), &mut acts);
        listener.act(acts);
        listener
    }

    fn act(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Deliver(event) => {
                    let placement = event.placement;
                    assert_eq!(placement.position.offset, self.position.offset + 1);
                    assert_eq!(placement.previous_chain, self.position.chain);
                    let begins = self.position.offset == 0;
                    assert!(
                        begins || placement.position.epoch == self.position.epoch,
                        "the epoch changes from {:?} to {:?}, and nobody says so",
                        self.position,
                        placement.position
                    );
                    self.position = placement.position;
                    let record = event.record.0 as u64;
                    assert!(!self.records.contains(&record), "{record} comes twice");
                    self.records.push(record);
                }
                Act::Skip {
                    position, skipped, ..
                } => {
                    assert!(
                        position.epoch >= self.position.epoch,
                        "the epoch falls from {:?} to {position:?}",
                        self.position
                    );
                    self.position = position;
                    self.skipped += skipped;
                }
                Act::Read { from } => {
                    assert_eq!(self.wanted, None, "one reading at a time");
                    self.wanted = Some(from);
                }
            }
        }
    }

    fn hear(&mut self, event: RecoveredEvent) {
        let mut acts = Vec::new();
        self.watch.on_event(event, &mut acts);
        self.act(acts);
    }

    fn check(&mut self, stream: &Stream) {
        let mut acts = Vec::new();
        self.watch.check(stream.top(), &mut acts);
        self.act(acts);
    }

    fn read(&mut self, stream: &Stream, most: usize, kept: usize) -> bool {
        let Some(from) = self.wanted.take() else {
            return false;
        };
        let mut acts = Vec::new();
        self.watch
            .on_range(stream.range(from, most, kept), &mut acts);
        self.act(acts);
        true
    }

    fn settle(&mut self, stream: &Stream) {
        for _ in 0..1_000 {
            if !self.read(stream, 7, usize::MAX) {
                return;
            }
        }
        panic!("it reads for ever");
    }
}

#[test]
fn a_gap_is_read_once_and_what_waited_follows() {
    let mut stream = Stream::default();
    let mut listener = Listener::opened(&stream);
    let events: Vec<_> = (1..=5).filter_map(|id| stream.publish(id)).collect();
    listener.hear(events[0].clone());
    listener.hear(events[2].clone());
    listener.hear(events[3].clone());
    assert_eq!(
        (&listener.records[..], listener.wanted),
        (&[1][..], Some(2))
    );
    let early = Stream {
        events: events[..3].to_vec(),
        ..Stream::default()
    };
    listener.read(&early, 100, 100);
    assert_eq!(listener.records, [1, 2, 3, 4]);
    listener.hear(events[4].clone());
    assert_eq!((listener.wanted, listener.records.len()), (None, 5));
}

#[test]
fn what_is_not_kept_is_counted() {
    let mut stream = Stream::default();
    let mut listener = Listener::opened(&stream);
    for id in 1..=20 {
        stream.publish(id);
    }
    listener.check(&stream);
    listener.read(&stream, 100, 5);
    assert_eq!((listener.skipped, listener.records.len()), (15, 5));
    assert_eq!(listener.position, stream.top());
}

#[test]
fn a_top_is_believed_when_it_was_not_reached_in_time() {
    let mut stream = Stream::default();
    let mut listener = Listener::opened(&stream);
    let event = stream.publish(1).expect("a new record");
    assert!(listener.watch.on_top(stream.top()));
    listener.hear(event);
    let mut acts = Vec::new();
    listener.watch.confirm(&mut acts);
    assert_eq!(acts, [], "it was on its way");
    stream.publish(2);
    assert!(listener.watch.on_top(stream.top()));
    listener.watch.confirm(&mut acts);
    assert_eq!(acts, [Act::Read { from: 2 }]);
}

#[test]
fn a_late_message_of_a_lost_history_is_not_taken() {
    let mut stream = Stream::default();
    let mut listener = Listener::opened(&stream);
    for id in 1..=3 {
        let event = stream.publish(id).expect("a new record");
        listener.hear(event);
    }
    let mut old = stream.clone();
    stream.fail_over(1);
    let new = stream.publish(9).expect("a new record");
    listener.hear(new);
    listener.settle(&stream);
    assert_eq!(listener.records, [1, 2, 3, 9]);
    let late = old.publish(4).expect("a new record");
    listener.hear(late);
    assert_eq!((listener.wanted, listener.position), (None, stream.top()));
}

#[test]
fn a_history_of_which_nothing_is_known_is_begun_from_its_start() {
    let mut stream = Stream::default();
    let mut listener = Listener::opened(&stream);
    for id in 1..=3 {
        let event = stream.publish(id).expect("a new record");
        listener.hear(event);
    }
    let mut emptied = Stream {
        epoch: 1,
        events: Vec::new(),
    };
    for id in [3, 7, 8] {
        emptied.publish(id);
    }
    listener.check(&emptied);
    listener.settle(&emptied);
    assert_eq!(listener.records, [1, 2, 3, 7, 8]);
    assert_eq!(listener.position, emptied.top());
}

#[test]
fn a_history_that_was_built_up_again_goes_on_in_its_own_epoch() {
    let mut stream = Stream::default();
    let mut listener = Listener::opened(&stream);
    let place = |stream: &mut Stream, listener: &mut Listener, record| {
        let event = stream.publish(record).expect("a new record");
        listener.hear(event);
        listener.settle(stream);
    };
    place(&mut stream, &mut listener, 1);
    stream.epoch += 1;
    place(&mut stream, &mut listener, 2);
    // Emptied, and submitted again from the first record on: the chains are the same.
    let mut emptied = Stream {
        epoch: stream.epoch + 1,
        events: Vec::new(),
    };
    emptied.publish(1);
    listener.check(&emptied);
    listener.settle(&emptied);
    assert_eq!(listener.position, emptied.top());
    for record in 2..=3 {
        let event = emptied.publish(record).expect("a new record");
        listener.hear(event);
    }
    listener.settle(&emptied);
    assert_eq!(listener.records, [1, 2, 3]);
    assert_eq!(listener.position, emptied.top());
}

#[test]
fn a_server_that_knows_less_and_has_no_events_moves_nobody_before_its_next_event() {
    let mut stream = Stream::default();
    let begin = stream.clone();
    let events: Vec<_> = (1..=7)
        .filter_map(|record| stream.publish(record))
        .collect();
    let mut heard = Listener::opened(&begin);
    events.into_iter().for_each(|event| heard.hear(event));
    let late = Listener::opened(&stream);
    for mut listener in [heard, late] {
        let mut server = stream.clone();
        server.fail_over(2);
        listener.check(&server);
        while listener.read(&server, usize::MAX, 0) {}
        assert_eq!(listener.position, stream.top());
        // Another node knew no better.
        let next = server.publish(8).expect("new");
        listener.hear(next);
        while listener.read(&server, usize::MAX, 1) {}
        assert_eq!(listener.position, server.top());
        assert_eq!((listener.records.last(), listener.skipped), (Some(&8), 0));
    }
}

#[test]
fn an_epoch_that_goes_on_where_the_last_one_ended_is_announced_before_its_first_event() {
    let mut stream = Stream::default();
    let mut listener = Listener::opened(&stream);
    for id in 1..=3 {
        let event = stream.publish(id).expect("a new record");
        listener.hear(event);
    }
    stream.fail_over(0);
    let event = stream.publish(4).expect("a new record");
    let mut acts = Vec::new();
    listener.watch.on_event(event.clone(), &mut acts);
    let announced = Act::Skip {
        position: Position {
            epoch: event.placement.position.epoch,
            ..listener.position
        },
        skipped: 0,
        reason: SkipReason::Lineage,
    };
    assert_eq!(acts, [announced, Act::Deliver(event)]);
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Publish { heard: bool, again: bool },
    Late(usize),
    FailOver(usize),
    Read,
    Check,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), Just(false)).prop_map(|(heard, again)| Step::Publish { heard, again }),
        2 => Just(Step::Publish { heard: true, again: true }),
        3 => (0..40_usize).prop_map(Step::Late),
        1 => (0..6_usize).prop_map(Step::FailOver),
        4 => Just(Step::Read),
        1 => Just(Step::Check),
    ]
}

proptest! {
    /// Whatever is dropped, late, repeated or lost by servers: what is delivered is continuous,
    /// comes once, and is all that the last server has once it is asked.
    #[test]
    fn everything_that_is_kept_comes_once_and_in_order(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut stream = Stream::default();
        let mut listener = Listener::opened(&stream);
        let (mut next, mut sent, mut lost) = (1, Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Publish { heard, again } => {
                    let record = match lost.pop() {
                        Some(record) if again => record,
                        other => {
                            lost.extend(other);
                            next += 1;
                            next
                        }
                    };
                    if let Some(event) = stream.publish(record) {
                        sent.push(event.clone());
                        if heard {
                            listener.hear(event);
                        }
                    }
                }
                Step::Late(at) => {
                    if let Some(event) = sent.get(at) {
                        listener.hear(event.clone());
                    }
                }
                Step::FailOver(count) => {
                    let kept = stream.events.len().saturating_sub(count);
                    let gone = stream.events[kept..].iter();
                    lost.extend(gone.map(|event| event.record.0 as u64));
                    stream.fail_over(count);
                }
                Step::Read => {
                    listener.read(&stream, 7, usize::MAX);
                }
                Step::Check => listener.check(&stream),
            }
        }
        listener.settle(&stream);
        listener.check(&stream);
        listener.settle(&stream);
        // A server that knows nothing moves nobody.
        if stream.top().offset > 0 {
            prop_assert_eq!(
                (listener.position.offset, listener.position.chain),
                (stream.top().offset, stream.top().chain)
            );
        }
        for event in &stream.events {
            prop_assert!(listener.records.contains(&(event.record.0 as u64)), "{event:?}");
        }
        prop_assert_eq!(listener.skipped, 0);
    }
}
