//! The task that owns the control thread's lanes.
//!
//! Invariants: a number names one part or question under way; a call is answered when all of its
//! parts are;
//! before it waits the task has looked at its lanes with its bell armed.
//!
//! Runs on: the control thread.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use interlink_protocol::namespace::Namespaces;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;
use tokio::sync::{mpsc, oneshot};

use super::questions::Asking;
use super::{Call, Gateway};
use crate::lanes::{Port, Taken};
use crate::server::NodeState;
use crate::shard::service::questions::{Question, Reply, Told, QUESTION_CLASS};
use crate::shard::service::{Outcome, Outcomes, Submission};
use crate::shard::Message;

/// Entries that one take brings.
const TAKE: usize = 64;
/// Calls that the task takes before it looks at its lanes again.
const CALLS_PER_TURN: usize = 64;

/// A part that a shard has and did not answer yet.
#[derive(Debug)]
struct Asked {
    call: u32,
    places: Vec<u32>,
}

/// A call that waits for parts.
#[derive(Debug)]
struct Waiting {
    parts: usize,
    outcomes: Vec<Outcome>,
    answer: oneshot::Sender<Vec<Outcome>>,
}

/// Moves submissions to shards and their outcomes back.
#[derive(Debug)]
pub struct GatewayTask {
    port: Port<Message>,
    /// Where the bell is heard; its other end is what shards write to.
    heard: UnixStream,
    /// Kept so that a bell always has somebody to ring.
    _bell: UnixStream,
    calls: mpsc::Receiver<Call>,
    questions: mpsc::Receiver<Asking>,
    waiting: HashMap<u32, Waiting>,
    asked: HashMap<u32, Asked>,
    replies: HashMap<u32, oneshot::Sender<Result<Told, Refusal>>>,
    last: u32,
    taken: Vec<Taken<Message>>,
}

impl GatewayTask {
    /// The task over the control thread's port, which is the last of the mesh, and the gateway
    /// for callers to so many shards.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn open(
        port: Port<Message>,
        shards: u16,
        namespaces: Arc<Namespaces>,
        node: Arc<NodeState>,
    ) -> io::Result<(Gateway, Self)> {
        let (heard, bell) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        // A bell that was rung too often while nobody listened is loud enough.
        bell.set_nonblocking(true)?;
        port.receiver.attach(bell.as_raw_fd())?;
        let (gateway, (calls, questions)) = Gateway::new(shards, namespaces, node);
        let task = Self {
            port,
            heard,
            _bell: bell,
            calls,
            questions,
            waiting: HashMap::new(),
            asked: HashMap::new(),
            replies: HashMap::new(),
            last: 0,
            taken: Vec::with_capacity(TAKE),
        };
        Ok((gateway, task))
    }

    /// Runs until every gateway is dropped.
    ///
    /// # Errors
    /// When the bell cannot be listened to.
    pub async fn run(mut self) -> io::Result<()> {
        let heard = tokio::net::UnixStream::from_std(self.heard.try_clone()?)?;
        let mut calls = Vec::with_capacity(CALLS_PER_TURN);
        loop {
            self.take_outcomes();
            if !self.port.receiver.park() {
                // The other tasks of the thread are let in between.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                count = self.calls.recv_many(&mut calls, CALLS_PER_TURN) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
                asking = self.questions.recv() => match asking {
                    Some(asking) => self.ask(asking),
                    None => return Ok(()),
                },
                ready = heard.readable() => {
                    ready?;
                    silence(&heard);
                }
            }
            self.port.receiver.unpark();
            for call in calls.drain(..) {
                self.submit(call);
            }
            self.port.sender.flush();
        }
    }

    fn submit(&mut self, call: Call) {
        let number = self.next_number();
        let mut waiting = Waiting {
            parts: 0,
            outcomes: call.outcomes,
            answer: call.answer,
        };
        for part in call.parts {
            let asked = self.next_number();
            let submission = Submission {
                from: self.port.sender.own() as u16,
                number: asked,
                class: part.class,
                claims: call.claims.clone(),
                publisher: Arc::clone(&call.publisher),
                publishes: part.publishes,
            };
            let message = Message::Submit(Box::new(submission));
            let pushed = self
                .port
                .sender
                .push(usize::from(part.shard), part.class, message);
            if pushed.is_ok() {
                waiting.parts += 1;
                let places = part.places;
                self.asked.insert(
                    asked,
                    Asked {
                        call: number,
                        places,
                    },
                );
            } else {
                let refused = Outcome::Refused(Refusal::of(ErrorCode::Overloaded));
                for place in part.places {
                    waiting.outcomes[place as usize] = refused;
                }
            }
        }
        if waiting.parts == 0 {
            // The caller may have gone.
            let _ = waiting.answer.send(waiting.outcomes);
        } else {
            self.waiting.insert(number, waiting);
        }
    }

    fn ask(&mut self, asking: Asking) {
        let number = self.next_number();
        let question = Question {
            from: self.port.sender.own() as u16,
            number,
            claims: asking.claims,
            wish: asking.wish,
        };
        let message = Message::Ask(Box::new(question));
        let shard = usize::from(asking.shard);
        if self
            .port
            .sender
            .push(shard, QUESTION_CLASS, message)
            .is_ok()
        {
            self.replies.insert(number, asking.answer);
        } else {
            // The caller may have gone.
            let _ = asking.answer.send(Err(Refusal::of(ErrorCode::Overloaded)));
        }
    }

    fn take_outcomes(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        while self.port.receiver.take(TAKE, &mut taken) > 0 {
            for entry in taken.drain(..) {
                match entry.entry {
                    Message::Outcomes(outcomes) => self.on_outcomes(*outcomes),
                    Message::Reply(reply) => self.on_reply(*reply),
                    // Shards send nothing else to this thread.
                    _ => {}
                }
            }
        }
        self.taken = taken;
    }

    fn on_reply(&mut self, reply: Reply) {
        if let Some(answer) = self.replies.remove(&reply.number) {
            // The caller may have gone.
            let _ = answer.send(reply.told);
        }
    }

    fn on_outcomes(&mut self, answer: Outcomes) {
        let Some(asked) = self.asked.remove(&answer.number) else {
            return;
        };
        let Some(waiting) = self.waiting.get_mut(&asked.call) else {
            return;
        };
        for (place, outcome) in asked.places.into_iter().zip(answer.outcomes) {
            waiting.outcomes[place as usize] = outcome;
        }
        waiting.parts -= 1;
        if waiting.parts == 0 {
            if let Some(waiting) = self.waiting.remove(&asked.call) {
                // The caller may have gone.
                let _ = waiting.answer.send(waiting.outcomes);
            }
        }
    }

    /// The next number that is not in use.
    fn next_number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            let number = &self.last;
            let used = self.waiting.contains_key(number)
                || self.asked.contains_key(number)
                || self.replies.contains_key(number);
            if !used {
                return self.last;
            }
        }
    }
}

/// Takes what the bell wrote.
fn silence(heard: &tokio::net::UnixStream) {
    let mut bytes = [0; 64];
    while heard.try_read(&mut bytes).is_ok_and(|count| count > 0) {}
}
