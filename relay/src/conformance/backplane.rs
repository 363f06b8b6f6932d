//! The rules of [`Backplane`].

use interlink_protocol::frame::event::read_position;
use interlink_protocol::ids::{Position, RecordId};
use interlink_protocol::priority::Priority;

use super::{event, forged, COMPLETIONS_MAX};
use crate::backplane::{
    Backplane, BackplaneAnswer, BackplaneError, BackplaneEvent, BackplaneRequest, Publish,
    Published,
};
use crate::files::{Gap, HistoryPage};
use crate::limits::PORT_BATCH_MAX;
use crate::record::Placement;

const A: &str = "class.algebra";
const B: &str = "class.biology";
const SECOND_US: u64 = 1_000_000;

/// A delivered event: channel, place and frame.
type Message = (Box<str>, Placement, Box<[u8]>);

/// Runs the suite.
pub fn backplane<B: Backplane>(mut make: impl FnMut() -> B) {
    positions_count_and_chain(&mut make());
    channels_are_numbered_apart(&mut make());
    a_repeat_keeps_its_place(&mut make());
    history_follows_a_position_or_says_why_not(&mut make());
    subscribers_get_every_event_in_order(&mut make());
    too_large_calls_are_refused(&mut make());
}

struct Driver<'a, B> {
    backplane: &'a mut B,
    messages: Vec<Message>,
}

impl<B: Backplane> Driver<'_, B> {
    fn call(&mut self, request: BackplaneRequest<'_>, now_us: u64) -> BackplaneAnswer {
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
        for _ in 0..COMPLETIONS_MAX {
            match self.backplane.complete() {
                Some(BackplaneEvent::Answer(found, answer)) if found == ticket => return answer,
                Some(BackplaneEvent::Message {
                    channel,
                    placement,
                    frame,
                }) => {
                    self.messages.push((channel, placement, frame));
                }
                _ => std::thread::yield_now(),
            }
        }
        panic!("no answer came");
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
                frame,
            })
            .collect();
        match self.call(BackplaneRequest::Publish(&records), now_us) {
            BackplaneAnswer::Published(published) => published,
            other => panic!("not an answer to a publish: {other:?}"),
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

    fn top(&mut self, channel: &str) -> Position {
        match self.call(BackplaneRequest::Top { channel }, SECOND_US) {
            BackplaneAnswer::Top(top) => top,
            other => panic!("not an answer about the top: {other:?}"),
        }
    }

    /// Messages until `count` have come.
    fn messages(&mut self, count: usize) -> &[Message] {
        for _ in 0..COMPLETIONS_MAX {
            if self.messages.len() >= count {
                break;
            }
            match self.backplane.complete() {
                Some(BackplaneEvent::Message {
                    channel,
                    placement,
                    frame,
                }) => {
                    self.messages.push((channel, placement, frame));
                }
                _ => std::thread::yield_now(),
            }
        }
        &self.messages
    }
}

fn drive<B: Backplane>(backplane: &mut B) -> Driver<'_, B> {
    Driver {
        backplane,
        messages: Vec::new(),
    }
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
    let answer = driver.call(BackplaneRequest::Subscribe { channel: A }, SECOND_US);
    let BackplaneAnswer::Subscribed(pinned) = answer else {
        panic!("not an answer to a subscription: {answer:?}")
    };
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
        frame: &[],
    };
    let records: Vec<_> = (0..=PORT_BATCH_MAX).map(record).collect();
    let refused = driver.try_call(BackplaneRequest::Publish(&records), SECOND_US);
    assert!(matches!(refused, Err(BackplaneError::TooMany { .. })));
    assert_eq!(driver.top(A).offset, 0, "nothing was placed");
}
