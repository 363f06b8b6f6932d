//! The model test: the same script against the real kernel and the one in memory must show the
//! caller the same.
//!
//! What is compared does not depend on time: for each connection the bytes received, why its
//! receives ended, how often it became writable and whether it closed; for the file its results
//! and content. The script runs in memory first; then the real kernel has some seconds to show
//! the same, and must show no more.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use interlink_uring::{EndReason, Event, HandshakeId, Kernel, SendOutcome, SocketId};
use proptest::prelude::*;

use self::world::{RealWorld, ScriptedWorld, World};
use crate::support::send;

/// How long the real kernel has to show what the model showed.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections of a script.
const CONNECTIONS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Install(usize),
    Arm(usize),
    Stop(usize),
    Poll(usize),
    Close(usize),
    Once(usize),
    CancelOnce(usize),
    Send(usize, usize),
    PeerWrite(usize, usize),
    PeerRead(usize),
    PeerFinish(usize),
    PeerReset(usize),
    Write(u16, usize),
    Sync,
    /// Runs both kernels until nothing happens any more, and compares.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..CONNECTIONS;
    prop_oneof![
        4 => Just(Step::Connect),
        4 => which.clone().prop_map(Step::Install),
        4 => which.clone().prop_map(Step::Arm),
        2 => which.clone().prop_map(Step::Stop),
        1 => which.clone().prop_map(Step::Poll),
        2 => which.clone().prop_map(Step::Close),
        2 => which.clone().prop_map(Step::Once),
        1 => which.clone().prop_map(Step::CancelOnce),
        4 => (which.clone(), 0..9_000_usize).prop_map(|(c, len)| Step::Send(c, len)),
        6 => (which.clone(), 1..9_000_usize).prop_map(|(c, len)| Step::PeerWrite(c, len)),
        2 => which.clone().prop_map(Step::PeerRead),
        1 => which.clone().prop_map(Step::PeerFinish),
        1 => which.prop_map(Step::PeerReset),
        1 => (0..2_000_u16, 0..3_000_usize).prop_map(|(at, len)| Step::Write(at, len)),
        1 => Just(Step::Sync),
    ]
}

/// What the caller saw of one connection.
#[derive(Default, Debug, PartialEq, Eq, Clone)]
struct Seen {
    /// Runs of the same byte: (byte, length).
    received: Vec<(u8, usize)>,
    ends: Vec<EndReason>,
    writable: usize,
    closed: bool,
}

impl Seen {
    fn received(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self.received.last_mut() {
                Some((last, length)) if last == byte => *length += 1,
                _ => self.received.push((*byte, 1)),
            }
        }
    }
}

/// What the caller saw of everything.
#[derive(Default, Debug, PartialEq, Eq, Clone)]
struct Observation {
    connections: Vec<Seen>,
    files: Vec<(u64, i32)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// A descriptor; `true` while a single receive is under way.
    Held(bool),
    Installed(SocketId),
    Closed,
}

/// A run of a script on one kernel.
struct Run<W: World> {
    world: W,
    phases: Vec<Phase>,
    names: BTreeMap<u64, usize>,
    seen: Observation,
    /// Each step is settled, so that how often something ended is comparable.
    strict: bool,
    /// Connections that the peer has reset. Linux may leave the reset to the next send when the
    /// receive is armed with more than one receive's bytes waiting, so that the ends of these are
    /// not comparable.
    reset: BTreeSet<usize>,
    tokens: u64,
}

impl<W: World> Run<W> {
    fn new(world: W, strict: bool) -> Self {
        let seen = Observation::default();
        Self {
            world,
            phases: Vec::new(),
            names: BTreeMap::new(),
            seen,
            strict,
            reset: BTreeSet::new(),
            tokens: 0,
        }
    }

    /// Runs one turn; `true` when nothing is left to do at once.
    fn turn(&mut self) -> bool {
        let kernel = self.world.kernel();
        kernel.enter().expect("the kernel takes entries");
        while let Some(event) = kernel.next_event() {
            match event {
                Event::Received { socket, bytes } => {
                    let connection = self.names[&socket.as_u64()];
                    self.seen.connections[connection].received(kernel.bytes_mut(&bytes));
                }
                Event::HandshakeReceived { handshake, bytes } => {
                    let connection = handshake.slot as usize;
                    self.seen.connections[connection].received(kernel.bytes_mut(&bytes));
                    self.phases[connection] = Phase::Held(false);
                }
                Event::ReceiveEnded { socket, reason } => {
                    let connection = self.names[&socket.as_u64()];
                    self.seen.connections[connection].ends.push(reason);
                }
                Event::HandshakeEnded { handshake, reason } => {
                    let connection = handshake.slot as usize;
                    self.seen.connections[connection].ends.push(reason);
                    self.phases[connection] = Phase::Held(false);
                }
                Event::Writable { socket } => {
                    self.seen.connections[self.names[&socket.as_u64()]].writable += 1;
                }
                Event::Closed { socket } => {
                    self.seen.connections[self.names[&socket.as_u64()]].closed = true;
                }
                Event::Written {
                    token,
                    result,
                    buffer,
                } => {
                    assert!(buffer.iter().all(|byte| *byte == token as u8));
                    self.seen.files.push((token, result));
                }
                Event::Synced { token, result } => self.seen.files.push((token, result)),
                other => panic!("unexpected: {other:?}"),
            }
        }
        kernel.end_turn();
        let idle = kernel.start_sleep();
        kernel.end_sleep();
        idle
    }

    /// What was seen, without what depends on time.
    fn observation(&self) -> Observation {
        let mut seen = self.seen.clone();
        seen.files.sort_unstable();
        for connection in &self.reset {
            seen.connections[*connection].ends.clear();
        }
        if !self.strict {
            for (connection, phase) in seen.connections.iter_mut().zip(&self.phases) {
                if *phase == Phase::Closed {
                    // How much was received before the close depends on time.
                    connection.received.clear();
                    connection.ends.clear();
                }
                connection.ends.retain(|end| *end != EndReason::Stopped);
                connection.ends.truncate(1);
                connection.writable = connection.writable.min(1);
            }
        }
        seen
    }

    /// Does one step; answers what it showed at once.
    fn step(&mut self, step: &Step, number: usize) -> Option<SendOutcome> {
        let fill = number as u8;
        match *step {
            Step::Connect if self.phases.len() < CONNECTIONS => {
                self.world.connect();
                self.phases.push(Phase::Held(false));
                self.seen.connections.push(Seen::default());
            }
            Step::Write(at, len) => {
                self.tokens += 1;
                self.world
                    .write(u64::from(at), vec![self.tokens as u8; len], self.tokens);
            }
            Step::Sync => {
                self.tokens += 1;
                self.world.sync(self.tokens);
            }
            Step::Install(c)
            | Step::Arm(c)
            | Step::Stop(c)
            | Step::Poll(c)
            | Step::Close(c)
            | Step::Once(c)
            | Step::CancelOnce(c)
            | Step::Send(c, _)
            | Step::PeerWrite(c, _)
            | Step::PeerRead(c)
            | Step::PeerFinish(c)
            | Step::PeerReset(c)
                if c < self.phases.len() =>
            {
                return self.connection_step(c, step, fill);
            }
            _ => {}
        }
        None
    }

    fn connection_step(&mut self, c: usize, step: &Step, fill: u8) -> Option<SendOutcome> {
        let handshake = HandshakeId {
            slot: c as u32,
            generation: 1,
        };
        match (step, self.phases[c]) {
            (Step::Install(_), Phase::Held(false)) => {
                let socket = self.world.install(c);
                self.names.insert(socket.as_u64(), c);
                self.phases[c] = Phase::Installed(socket);
            }
            (Step::Once(_), Phase::Held(false)) => {
                self.phases[c] = Phase::Held(true);
                let descriptor = self.world.descriptor(c);
                self.world.kernel().receive_once(handshake, descriptor);
            }
            (Step::CancelOnce(_), _) => self.world.kernel().cancel_once(handshake),
            (Step::Arm(_), Phase::Installed(socket)) => self.world.kernel().arm_receive(socket),
            (Step::Stop(_), Phase::Installed(socket)) => self.world.kernel().stop_receive(socket),
            (Step::Poll(_), Phase::Installed(socket)) => self.world.kernel().poll_writable(socket),
            (Step::Close(_), Phase::Installed(socket)) => {
                self.world.kernel().close(socket);
                self.phases[c] = Phase::Closed;
            }
            (Step::Send(_, len), Phase::Installed(socket)) => {
                let outcome = send(self.world.kernel(), socket, &vec![fill; *len]);
                if outcome == SendOutcome::Sent {
                    self.world.sent(c, *len);
                }
                // Which operation meets the reset first decides between two errors.
                return Some(match outcome {
                    SendOutcome::Failed(_) if self.reset.contains(&c) => SendOutcome::Failed(0),
                    other => other,
                });
            }
            (Step::PeerWrite(_, len), Phase::Held(_) | Phase::Installed(_)) => {
                self.world.peer_write(c, &vec![fill; *len]);
            }
            (Step::PeerFinish(_), Phase::Held(_) | Phase::Installed(_)) => {
                self.world.peer_finish(c);
            }
            (Step::PeerReset(_), Phase::Held(_) | Phase::Installed(_)) => {
                self.world.peer_reset(c);
                self.reset.insert(c);
            }
            (Step::PeerRead(_), _) => self.world.peer_read(c),
            _ => {}
        }
        None
    }
}

fn check(steps: &[Step], strict: bool) {
    let mut model = Run::new(ScriptedWorld::new(), strict);
    let mut real = Run::new(RealWorld::new(), strict);
    for (number, step) in steps.iter().enumerate() {
        if matches!(step, Step::Settle) {
            // A stop and the bytes that it stops race; who wins shows only in the end.
            settle(&mut model, &mut real, strict);
            continue;
        }
        let wanted = model.step(step, number);
        assert_eq!(real.step(step, number), wanted, "step {number}: {step:?}");
    }
    settle(&mut model, &mut real, strict);
    if !strict {
        // Whatever was stopped or never armed is received to the end.
        for c in 0..CONNECTIONS {
            for last in [Step::Install(c), Step::Arm(c)] {
                model.step(&last, 0);
                real.step(&last, 0);
            }
        }
        settle(&mut model, &mut real, true);
    }
    assert_eq!(real.world.file_content(), model.world.file_content());
}

/// Brings both kernels to rest: the model first, then the real one until it has shown as much,
/// and no more. Without `exact` only what the next steps depend on is compared.
fn settle(model: &mut Run<ScriptedWorld>, real: &mut Run<RealWorld>, exact: bool) {
    while !model.turn() {}
    let wanted = model.observation();
    let shown = |real: &Run<RealWorld>| {
        let seen = real.observation();
        real.phases_without_names() == model.phases_without_names()
            && seen.files == wanted.files
            && (!exact || seen == wanted)
    };
    let started = Instant::now();
    while !shown(real) {
        real.turn();
        if started.elapsed() > PATIENCE {
            assert_eq!(real.observation(), wanted, "the real kernel (left) differs");
            assert_eq!(real.phases_without_names(), model.phases_without_names());
        }
    }
    while !real.turn() {
        assert!(
            started.elapsed() < 2 * PATIENCE,
            "the real kernel does not come to rest"
        );
    }
    assert!(
        shown(real),
        "the real kernel shows more: {:?} {wanted:?}",
        real.observation()
    );
}

impl<W: World> Run<W> {
    fn phases_without_names(&self) -> Vec<Phase> {
        let nameless = |phase: &Phase| match phase {
            Phase::Installed(_) => Phase::Installed(SocketId::NONE),
            other => *other,
        };
        self.phases.iter().map(nameless).collect()
    }
}

/// A failing script is small enough after 300 tries, each of which may wait.
fn scripts() -> ProptestConfig {
    ProptestConfig {
        cases: 200,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(scripts())]

    #[test]
    fn step_by_step_both_kernels_show_the_same(steps in prop::collection::vec(step(), 1..60)) {
        let mut settled = Vec::new();
        for step in steps {
            settled.push(step);
            settled.push(Step::Settle);
        }
        check(&settled, true);
    }

    #[test]
    fn whatever_happens_in_one_turn_both_kernels_come_to_the_same_end(
        turns in prop::collection::vec(prop::collection::vec(step(), 1..12), 1..12),
    ) {
        let mut steps = Vec::new();
        for turn in turns {
            // What follows a cancelled handshake depends on whether bytes were faster.
            steps.extend(turn.into_iter().filter(|step| !matches!(step, Step::CancelOnce(_))));
            steps.push(Step::Settle);
        }
        check(&steps, false);
    }
}
