//! The rules of [`Backplane`].

use std::time::{Duration, Instant};

use interlink_protocol::frame::event::read_position;
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;

use super::floors::floors;
use super::{event, forged, leases};
use crate::backplane::{
    partition_of, Backplane, BackplaneAnswer, BackplaneError, BackplaneEvent, BackplaneRequest,
    Floor, Publish, Published, Standing,
};
use crate::files::{Gap, HistoryPage};
use crate::limits::PORT_BATCH_MAX;
use crate::ports::Ticket;
use crate::record::Placement;

pub(super) const A: &str = "class.algebra";
pub(super) const B: &str = "class.biology";
pub(super) const SECOND_US: u64 = 1_000_000;

/// A server that has not answered by then does not answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A delivered event: channel, place and frame.
type Message = (Box<str>, Placement, Box<[u8]>);

/// Runs the suite over implementations with so many partitions.
pub fn backplane<B: Backplane>(mut make: impl FnMut() -> B, partitions: u16) {
    the_standing_comes_first(&mut make());
    positions_count_and_chain(&mut make());
    channels_are_numbered_apart(&mut make());
    a_repeat_keeps_its_place(&mut make());
    it_is_told_where_records_stand(&mut make(), partitions);
    floors(&mut make, partitions);
    history_follows_a_position_or_says_why_not(&mut make());
    subscribers_get_every_event_in_order(&mut make());
    nobody_is_told_by_itself(&mut make());
    too_large_calls_are_refused(&mut make());
    leases::of_a_node(&mut make);
    if partitions > 1 {
        calls_across_partitions_are_refused(&mut make(), partitions);
    }
}

/// Runs the rules between nodes. The closure makes two nodes of a fresh, empty cluster.
pub fn backplane_between_nodes<B: Backplane>(mut make: impl FnMut() -> (B, B)) {
    let nodes = &mut make();
    numbering_is_shared(&mut nodes.0, &mut nodes.1);
    let nodes = &mut make();
    other_nodes_are_told(&mut nodes.0, &mut nodes.1);
    let nodes = &mut make();
    two_publishers_make_one_order(&mut nodes.0, &mut nodes.1);
    let nodes = &mut make();
    leases::every_node_sees_those_of_all(&mut nodes.0, &mut nodes.1);
}

/// An implementation that is driven by a rule.
pub(super) struct Driver<'a, B> {
    backplane: &'a mut B,
    messages: Vec<Message>,
    /// What other nodes told: channel and frame.
    told: Vec<(Box<str>, Box<[u8]>)>,
    standing: Option<Standing>,
}

impl<B: Backplane> Driver<'_, B> {
    pub(super) fn call(&mut self, request: BackplaneRequest<'_>, now_us: u64) -> BackplaneAnswer {
        self.try_call(request, now_us)
            .expect("the backplane answers")
    }

    fn try_call(
        &mut self,
        request: BackplaneRequest<'_>,
        now_us: u64,
    ) -> Result<BackplaneAnswer, BackplaneError> {
        let ticket = self
            .backplane
            .submit(request, now_us)
            .expect("room for a request");
        let start = Instant::now();
        loop {
            if let Some((found, answer)) = self.take(start, "no answer came") {
                assert_eq!(found, ticket, "one answer for each request");
                return answer;
            }
        }
    }

    /// Takes one event and keeps it, or returns it when it is an answer.
    fn take(
        &mut self,
        start: Instant,
        missing: &str,
    ) -> Option<(Ticket, Result<BackplaneAnswer, BackplaneError>)> {
        match self.backplane.complete() {
            Some(BackplaneEvent::Answer(ticket, answer)) => return Some((ticket, answer)),
            Some(BackplaneEvent::Message {
                channel,
                placement,
                frame,
            }) => self.messages.push((channel, placement, frame)),
            Some(BackplaneEvent::Told { channel, frame }) => self.told.push((channel, frame)),
            Some(BackplaneEvent::Standing(standing)) => self.standing = Some(standing),
            Some(other) => panic!("nothing has failed: {other:?}"),
            None => {
                assert!(start.elapsed() < PATIENCE, "{missing}");
                std::thread::yield_now();
            }
        }
        None
    }

    fn subscribe(&mut self, channel: &str) -> Position {
        match self.call(BackplaneRequest::Subscribe { channel }, SECOND_US) {
            BackplaneAnswer::Subscribed(position) => position,
            other => panic!("not an answer to a subscription: {other:?}"),
        }
    }

    fn tell(&mut self, channel: &str, frame: &[u8]) {
        let answer = self.call(BackplaneRequest::Tell { channel, frame }, SECOND_US);
        assert_eq!(answer, BackplaneAnswer::Sent);
    }

    fn publish(&mut self, channel: &str, ids: &[u64], now_us: u64) -> Vec<Published> {
        let frames: Vec<_> = ids.iter().map(|id| event(channel, *id)).collect();
        let records: Vec<_> = ids
            .iter()
            .zip(&frames)
            .map(|(id, frame)| Publish {
                channel,
                class: Priority::P1,
                record: RecordId(u128::from(*id)),
                accepted_at_us: now_us,
                floor: Floor::NONE,
                frame,
            })
            .collect();
        match self.call(BackplaneRequest::Publish(&records), now_us) {
            BackplaneAnswer::Published(published) => published,
            other => panic!("not an answer to a publish: {other:?}"),
        }
    }

    pub(super) fn known(&mut self, partition: u16, ids: &[u64]) -> Vec<Option<Placement>> {
        let records: Vec<_> = ids.iter().map(|id| RecordId(u128::from(*id))).collect();
        let records = &records;
        let request = BackplaneRequest::Known { partition, records };
        match self.call(request, SECOND_US) {
            BackplaneAnswer::Known(known) => known,
            other => panic!("not an answer about records: {other:?}"),
        }
    }

    fn history(&mut self, channel: &str, after: Position, limit: usize) -> HistoryPage {
        let request = BackplaneRequest::History {
            channel,
            after,
            limit,
        };
        match self.call(request, SECOND_US) {
            BackplaneAnswer::History(page) => page,
            other => panic!("not an answer about history: {other:?}"),
        }
    }

    pub(super) fn top(&mut self, channel: &str) -> Position {
        match self.call(BackplaneRequest::Top { channel }, SECOND_US) {
            BackplaneAnswer::Top(top) => top,
            other => panic!("not an answer about the top: {other:?}"),
        }
    }

    /// Messages until `count` have come.
    fn messages(&mut self, count: usize) -> &[Message] {
        let start = Instant::now();
        while self.messages.len() < count {
            let answer = self.take(start, "too few messages came");
            assert_eq!(answer, None, "nothing was asked");
        }
        &self.messages
    }
}

/// Waits until an implementation is connected.
pub(super) fn drive<B: Backplane>(backplane: &mut B) -> Driver<'_, B> {
    let mut driver = Driver {
        backplane,
        messages: Vec::new(),
        told: Vec::new(),
        standing: None,
    };
    let start = Instant::now();
    while driver.standing != Some(Standing::Connected) {
        driver.take(start, "it does not connect");
    }
    driver
}

fn the_standing_comes_first<B: Backplane>(backplane: &mut B) {
    let start = Instant::now();
    let first = loop {
        match backplane.complete() {
            Some(event) => break event,
            None => assert!(start.elapsed() < PATIENCE, "it says nothing"),
        }
    };
    assert!(matches!(first, BackplaneEvent::Standing(_)), "{first:?}");
}

fn positions_count_and_chain<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    assert_eq!(driver.top(A).offset, 0, "a channel without events");
    let mut published = driver.publish(A, &[1, 2, 3], SECOND_US);
    published.extend(driver.publish(A, &[4], SECOND_US));
    let mut before = Position {
        epoch: published[0].placement.position.epoch,
        ..Position::ZERO
    };
    for (id, published) in (1u64..).zip(&published) {
        assert!(!published.repeated);
        assert_eq!(published.placement.previous_chain, before.chain);
        let expected = before.after(RecordId(u128::from(id)));
        assert_eq!(published.placement.position, expected, "event {id}");
        before = expected;
    }
    assert_eq!(driver.top(A), before);
}

fn channels_are_numbered_apart<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    driver.publish(A, &[1, 2], SECOND_US);
    let other = driver.publish(B, &[3], SECOND_US);
    assert_eq!(other[0].placement.position.offset, 1);
    assert_eq!(other[0].placement.previous_chain, 0);
}

fn a_repeat_keeps_its_place<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    let first = driver.publish(A, &[1, 2], SECOND_US);
    let later = SECOND_US + 299 * SECOND_US;
    let again = driver.publish(A, &[2, 3, 1, 3], later);
    let repeated: Vec<_> = again.iter().map(|published| published.repeated).collect();
    assert_eq!(repeated, [true, false, true, true], "within a call as well");
    assert_eq!(again[0].placement, first[1].placement);
    assert_eq!(again[2].placement, first[0].placement);
    assert_eq!(again[3].placement, again[1].placement);
    assert_eq!(driver.top(A).offset, 3);
}

fn it_is_told_where_records_stand<B: Backplane>(backplane: &mut B, partitions: u16) {
    let mut driver = drive(backplane);
    let partition = partition_of(A, partitions);
    let placed = driver.publish(A, &[21, 22], SECOND_US);
    let places: Vec<_> = placed.iter().map(|it| Some(it.placement)).collect();
    let known = driver.known(partition, &[22, 23, 21]);
    assert_eq!(known, [places[1], None, places[0]]);
    assert!(
        !driver.publish(A, &[23], SECOND_US)[0].repeated,
        "asked only"
    );
}

fn history_follows_a_position_or_says_why_not<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    let published = driver.publish(A, &[1, 2, 3, 4, 5], SECOND_US);
    let position = |index: usize| published[index].placement.position;
    let page = driver.history(A, position(1), 2);
    let offsets: Vec<_> = page
        .events
        .iter()
        .map(|one| one.placement.position.offset)
        .collect();
    assert_eq!((offsets, page.gap, page.more), (vec![3, 4], None, true));
    assert_eq!(page.last, position(3));
    let read = read_position(&page.events[0].frame).expect("an event");
    assert_eq!(read.0, position(2), "frames carry their position");
    let page = driver.history(A, position(3), 10);
    assert_eq!((page.events.len(), page.more), (1, false));
    let page = driver.history(A, position(4), 10);
    assert_eq!(
        (page.events.len(), page.gap),
        (0, None),
        "the top can be continued"
    );
    assert_eq!(driver.history(A, Position::ZERO, 10).events.len(), 5);
    for wrong in [
        forged(position(1)),
        forged(position(4)),
        position(4).after(RecordId(9)),
    ] {
        let page = driver.history(A, wrong, 10);
        assert_eq!(
            (page.events.len(), page.gap),
            (0, Some(Gap::Unknown)),
            "{wrong:?}"
        );
    }
}

fn subscribers_get_every_event_in_order<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    driver.publish(A, &[1], SECOND_US);
    let pinned = driver.subscribe(A);
    assert_eq!(pinned.offset, 1);
    let published = driver.publish(A, &[2, 3, 2], SECOND_US);
    driver.publish(B, &[4], SECOND_US);
    let messages = driver.messages(2);
    assert_eq!(
        messages.len(),
        2,
        "each event once, and of this channel only"
    );
    for (message, published) in messages.iter().zip(&published) {
        assert_eq!((&*message.0, message.1), (A, published.placement));
        let read = read_position(&message.2).expect("an event");
        assert_eq!(read, (message.1.position, message.1.previous_chain));
    }
    driver.call(BackplaneRequest::Unsubscribe { channel: A }, SECOND_US);
    driver.publish(A, &[5], SECOND_US);
    driver.top(A);
    assert_eq!(driver.messages.len(), 2, "the subscription has ended");
}

fn too_large_calls_are_refused<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    let record = |id: usize| Publish {
        channel: A,
        class: Priority::P1,
        record: RecordId(id as u128),
        accepted_at_us: 1,
        floor: Floor::NONE,
        frame: &[],
    };
    let records: Vec<_> = (0..=PORT_BATCH_MAX).map(record).collect();
    let refused = driver.try_call(BackplaneRequest::Publish(&records), SECOND_US);
    assert!(matches!(refused, Err(BackplaneError::TooMany { .. })));
    assert_eq!(driver.top(A).offset, 0, "nothing was placed");
}

fn nobody_is_told_by_itself<B: Backplane>(backplane: &mut B) {
    let mut driver = drive(backplane);
    driver.subscribe(A);
    driver.tell(A, b"typing");
    driver.publish(A, &[1], SECOND_US);
    driver.messages(1);
    assert!(driver.told.is_empty(), "it came back");
    assert_eq!(driver.top(A).offset, 1, "what is told takes no place");
}

fn calls_across_partitions_are_refused<B: Backplane>(backplane: &mut B, partitions: u16) {
    let mut driver = drive(backplane);
    let other = (0..)
        .map(|number| format!("class.{number}"))
        .find(|name| partition_of(name, partitions) != partition_of(A, partitions))
        .expect("a channel of another partition");
    let records = [A, &other].map(|channel| Publish {
        channel,
        class: Priority::P1,
        record: RecordId(1),
        accepted_at_us: 1,
        floor: Floor::NONE,
        frame: &[],
    });
    let refused = driver.try_call(BackplaneRequest::Publish(&records), SECOND_US);
    assert_eq!(refused, Err(BackplaneError::Partitions));
    assert_eq!(driver.top(A).offset, 0, "nothing was placed");
}

fn numbering_is_shared<B: Backplane>(here: &mut B, there: &mut B) {
    let (mut here, mut there) = (drive(here), drive(there));
    let first = here.publish(A, &[1, 2], SECOND_US);
    let second = there.publish(A, &[2, 3], SECOND_US);
    assert_eq!(second[0].placement, first[1].placement);
    assert!(second[0].repeated, "a repeat is known from any node");
    let expected = first[1].placement.position.after(RecordId(3));
    assert_eq!(second[1].placement.position, expected);
    assert_eq!(here.top(A), expected);
    assert_eq!(here.history(A, Position::ZERO, 10).events.len(), 3);
}

fn other_nodes_are_told<B: Backplane>(here: &mut B, there: &mut B) {
    let (mut here, mut there) = (drive(here), drive(there));
    there.subscribe(A);
    here.tell(A, b"typing");
    here.tell(B, b"nobody listens");
    here.publish(A, &[1], SECOND_US);
    // One connection carries both, so that what was told first is there when the event is.
    there.messages(1);
    let start = Instant::now();
    while there.told.is_empty() {
        there.take(start, "nothing was told");
    }
    assert_eq!(there.told, [(A.into(), b"typing".as_slice().into())]);
}

fn two_publishers_make_one_order<B: Backplane>(here: &mut B, there: &mut B) {
    let (mut here, mut there) = (drive(here), drive(there));
    let pins = (here.subscribe(A), there.subscribe(A));
    assert_eq!(pins.0, pins.1);
    for id in 0..50 {
        here.publish(A, &[2 * id], SECOND_US);
        there.publish(A, &[2 * id + 1], SECOND_US);
    }
    let messages = here.messages(100).to_vec();
    assert_eq!(there.messages(100), messages);
    let mut before = pins.0;
    for (_, placement, _) in &messages {
        assert_eq!(placement.position.offset, before.offset + 1);
        assert_eq!(placement.previous_chain, before.chain);
        before = placement.position;
    }
}
