//! A connection's decisions under any order of frames, timers and failures.
//!
//! Input: a list of steps, one byte each, with arguments from the bytes that follow; what is
//! left after a step that takes a frame is cut at 64 bytes.
//!
//! Properties: nothing panics; an illegal event changes nothing; credit is never negative and
//! never above its bound; a cursor never goes back; an ended subscription stays ended; a closed
//! connection stays closed.

use interlink_protocol::claims::Claims;
use interlink_protocol::frame::{decode_client, ClientFrame, FrameLimits};
use interlink_protocol::ids::Position;
use interlink_protocol::limits;
use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;
use interlink_protocol::registry::Registry;
use interlink_protocol::session::ack::{decide_ack, AckDecision};
use interlink_protocol::session::auth::check_hello;
use interlink_protocol::session::heartbeat::{HeartbeatState, HeartbeatTimes};
use interlink_protocol::session::machine::Machine;
use interlink_protocol::session::publish::{check_publish, Credit};
use interlink_protocol::session::resume::{decide_recovery, History, NextEvent, Recovery};
use interlink_protocol::session::state::{ConnectionState, SessionState};
use interlink_protocol::session::subscribe::{check_subscribe, SubscriptionState};

/// Most steps of one input.
const STEPS: usize = 4096;

/// Runs the properties over one input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut model = Model::default();
    for _ in 0..STEPS {
        let Some(step) = input.byte() else { break };
        match step % 8 {
            0 => model.machines(input.small()),
            1 => model.credit(input.small()),
            2 => model.ack(&mut input),
            3 => recovery(&mut input),
            4 => model.timer(input.small()),
            5 => frame(input.0),
            6 => model.pong(),
            _ => model.take_any_frame(&mut input),
        }
    }
}

/// Reads arguments; an exhausted input reads as zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn small(&mut self) -> u8 {
        self.byte().unwrap_or_default()
    }

    fn position(&mut self) -> Position {
        let [epoch, offset, chain] = [self.small(), self.small(), self.small()].map(u64::from);
        Position {
            epoch: epoch % 4,
            offset: offset % 16,
            chain: chain % 4,
        }
    }

    fn cut(&mut self, most: usize) -> &'a [u8] {
        let (cut, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        cut
    }
}

#[derive(Default)]
struct Model {
    connection: ConnectionState,
    session: SessionState,
    subscription: SubscriptionState,
    heartbeat: HeartbeatState,
    credit: Credit,
    taken: [u8; Priority::COUNT],
    cursor: Position,
}

impl Model {
    fn machines(&mut self, choice: u8) {
        let was = (self.connection, self.session, self.subscription);
        apply(&mut self.connection, choice);
        apply(&mut self.session, choice);
        apply(&mut self.subscription, choice);
        if was.0 == ConnectionState::Closed {
            assert_eq!(self.connection, ConnectionState::Closed);
        }
        if was.1 == SessionState::Ended {
            assert_eq!(self.session, SessionState::Ended);
        }
        if was.2 == SubscriptionState::Ended {
            assert_eq!(self.subscription, SubscriptionState::Ended);
        }
    }

    fn credit(&mut self, choice: u8) {
        let priority = Priority::ALL[usize::from(choice % 4)];
        let count = &mut self.taken[priority.index()];
        if choice & 0x80 == 0 {
            if self.credit.take(priority).is_ok() {
                *count += 1;
            }
        } else if *count > 0 {
            *count -= 1;
            self.credit.give_back(priority);
        }
        let ordinary: u8 = self.taken[1..].iter().sum();
        assert_eq!(
            self.credit.left(Priority::P0),
            limits::PUBLISH_CREDIT_CRITICAL - self.taken[0]
        );
        assert_eq!(
            self.credit.left(Priority::P1),
            limits::PUBLISH_CREDIT - ordinary
        );
        assert_eq!(self.credit.is_idle(), self.taken == [0; 4]);
    }

    fn ack(&mut self, input: &mut Input<'_>) {
        let (acked, sent, known) = (input.position(), input.position(), input.small() & 1 == 1);
        if decide_ack(self.cursor, acked, sent, || known) == AckDecision::Advance {
            let after = (acked.epoch, acked.offset);
            assert!(
                after > (self.cursor.epoch, self.cursor.offset),
                "a cursor went back"
            );
            self.cursor = acked;
        }
    }

    fn timer(&mut self, choice: u8) {
        let before = self.heartbeat;
        let paused = choice & 1 == 1;
        let _ = self.heartbeat.on_timer(HeartbeatTimes::default(), paused);
        if before == HeartbeatState::Expired {
            assert_eq!(self.heartbeat, HeartbeatState::Expired);
        }
    }

    fn pong(&mut self) {
        let awaited = self.heartbeat == HeartbeatState::Awaiting;
        assert_eq!(self.heartbeat.on_pong(), awaited);
    }

    fn take_any_frame(&mut self, input: &mut Input<'_>) {
        let most = usize::from(input.small());
        frame(input.cut(most));
    }
}

/// Applies one event of a machine, chosen by a number.
fn apply<M: Machine + PartialEq>(state: &mut M, choice: u8) {
    let event = M::EVENTS[usize::from(choice) % M::EVENTS.len()];
    if let Some(next) = state.after(event) {
        assert!(M::STATES.contains(&next));
        *state = next;
    }
}

fn recovery(input: &mut Input<'_>) {
    let (wanted, top) = (input.position(), input.position());
    let history = History {
        top,
        oldest: u64::from(input.small() % 20),
        ephemeral: input.small() & 1 == 1,
    };
    let next = input.small();
    let decided = decide_recovery(Some(wanted), &history, |offset| {
        assert!(
            offset >= history.oldest && offset <= top.offset,
            "{offset} cannot be read"
        );
        if next & 1 == 1 {
            NextEvent::NotYet
        } else {
            NextEvent::PreviousChain(u64::from(next >> 1) % 4)
        }
    });
    if let Recovery::Complete { after, following } = decided {
        assert_eq!(
            after + following,
            top.offset,
            "a recovery must reach the pinned position"
        );
        assert!(!history.ephemeral);
    }
}

/// Checks a frame as an open connection would.
fn frame(bytes: &[u8]) {
    let claims = Claims {
        user: "ada".into(),
        institution: "north".into(),
        ..Claims::default()
    };
    let (namespaces, registry) = (Namespaces::defaults(), Registry::core());
    match decode_client(bytes, &FrameLimits::CLIENT) {
        Ok(ClientFrame::Hello(hello)) => {
            if let Ok(hello) = check_hello(&hello) {
                assert!(hello.token.len() <= limits::TOKEN_BYTES);
                assert!(hello.positions().count() <= limits::SUBSCRIPTIONS_PER_SESSION);
            }
        }
        Ok(ClientFrame::Publish(publish)) => {
            let decided = check_publish(&publish, &namespaces, &registry, &claims, || true);
            if let Ok(decision) = decided {
                let policy = namespaces.get(decision.namespace);
                assert!(publish.payload().len() <= policy.payload_bytes as usize);
                assert!(publish.channel().len() <= limits::CHANNEL_BYTES);
            }
        }
        Ok(ClientFrame::Subscribe(subscribe)) => {
            for wanted in subscribe.channels() {
                let granted = |_: &str| Ok(());
                let _ = check_subscribe(&wanted, &namespaces, &claims, 0, granted);
            }
        }
        _ => {}
    }
}
