//! One connection of the server API, as a back end holds it: batch after batch.
//!
//! Invariants: a batch begins when the one before was answered; what was refused for now goes
//! again before anything new, under its idempotency key, so that the order of a user holds.
//! Limits: an answer has to come within [`PATIENCE`].
//!
//! Runs on: a thread for each connection, on the generator's core.

use super::api::name_of;
use crate::engine::payload::Payload;
use crate::engine::stamp::{Stamp, STAMP_BYTES};
use crate::measure::Latency;
use crate::sys;
use anyhow::{bail, ensure, Context, Result};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Shortest pause before something is sent again.
const PAUSE_MS_LEAST: u64 = 5;

/// What a caller sends.
pub struct CallerPlan {
    /// The server API.
    pub address: SocketAddr,
    /// Token of the service.
    pub token: String,
    /// The payload, with room for a stamp.
    pub payload: Payload,
    /// Users of this caller, one after the other.
    pub users: Vec<u32>,
    /// Events.
    pub events: u32,
    /// Events of one request.
    pub batch: u32,
    /// Counts accepted events of all callers.
    pub answered: Arc<AtomicU64>,
}

/// What a caller measured.
#[derive(Clone, Default)]
pub struct Outcome {
    /// Events that were accepted.
    pub accepted: u64,
    /// Events that were refused for now and sent again.
    pub sent_again: u64,
    /// From the first byte of a request to its whole answer.
    pub requests: Latency,
    first_ns: Option<u64>,
    last_ns: u64,
}

impl Outcome {
    /// Adds what another caller measured.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.sent_again += other.sent_again;
        self.requests.add(&other.requests);
        self.first_ns = match (self.first_ns, other.first_ns) {
            (Some(own), Some(others)) => Some(own.min(others)),
            (own, others) => own.or(others),
        };
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    /// From the first request to the last answer.
    pub fn seconds(&self) -> f64 {
        let first_ns = self.first_ns.unwrap_or(self.last_ns);
        self.last_ns.saturating_sub(first_ns) as f64 / 1e9
    }
}

/// A running caller.
pub struct Caller(JoinHandle<Result<Outcome>>);

impl Caller {
    /// Starts a caller.
    pub fn start(plan: CallerPlan) -> Self {
        Self(std::thread::spawn(move || Calling::new(plan)?.run()))
    }

    /// Whether it has sent everything, or failed.
    pub fn has_ended(&self) -> bool {
        self.0.is_finished()
    }

    /// What it measured.
    pub fn end(self) -> Result<Outcome> {
        self.0
            .join()
            .unwrap_or_else(|_| bail!("a caller of the server API has panicked"))
    }
}

/// An event that was not accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    user: u32,
    sequence: u64,
}

struct Calling {
    plan: CallerPlan,
    stream: BufReader<TcpStream>,
    waiting: VecDeque<Event>,
    outcome: Outcome,
}

impl Calling {
    fn new(plan: CallerPlan) -> Result<Self> {
        let stream = TcpStream::connect(plan.address).context("connecting to the server API")?;
        stream.set_nodelay(true).context("setting up a socket")?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .context("setting up a socket")?;
        let users = plan.users.len() as u64;
        let event = |number: u64| Event {
            user: plan.users[(number % users) as usize],
            sequence: number / users + 1,
        };
        Ok(Self {
            waiting: (0..u64::from(plan.events)).map(event).collect(),
            stream: BufReader::new(stream),
            plan,
            outcome: Outcome::default(),
        })
    }

    fn run(mut self) -> Result<Outcome> {
        while !self.waiting.is_empty() {
            let count = self.waiting.len().min(self.plan.batch as usize);
            let batch: Vec<Event> = self.waiting.drain(..count).collect();
            let begin_ns = sys::monotonic_ns();
            self.outcome.first_ns.get_or_insert(begin_ns);
            let body = body_of(&batch, &self.plan.payload, begin_ns);
            self.send(&body)?;
            let (status, answer) = self.receive()?;
            let end_ns = sys::monotonic_ns();
            self.outcome.last_ns = end_ns;
            self.outcome.requests.record_from(begin_ns, end_ns);
            let pause_ms = self.judge(&batch, status, &answer)?;
            if pause_ms > 0 {
                std::thread::sleep(Duration::from_millis(pause_ms));
            }
        }
        Ok(self.outcome)
    }

    fn send(&mut self, body: &str) -> Result<()> {
        let plan = &self.plan;
        let head = format!(
            "POST /v1/batch HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            plan.address,
            plan.token,
            body.len()
        );
        let request = [head.as_bytes(), body.as_bytes()].concat();
        let stream = self.stream.get_mut();
        stream.write_all(&request).context("sending a request")
    }

    /// Status and JSON of the next answer.
    fn receive(&mut self) -> Result<(u16, Value)> {
        let mut line = String::new();
        let mut next = |stream: &mut BufReader<TcpStream>| {
            line.clear();
            let read = stream.read_line(&mut line).context("reading an answer")?;
            ensure!(read > 0, "the server API ended a connection");
            Ok(line.trim_end().to_ascii_lowercase())
        };
        let status = next(&mut self.stream)?;
        let status = status.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut length = 0;
        loop {
            let header = next(&mut self.stream)?;
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().context("reading a length")?;
            }
        }
        let mut body = vec![0; length];
        self.stream
            .read_exact(&mut body)
            .context("reading an answer")?;
        let body = serde_json::from_slice(&body).context("reading an answer")?;
        Ok((status.context("an answer without a status")?, body))
    }

    /// Notes what became of a batch; the pause before the next one in milliseconds.
    fn judge(&mut self, batch: &[Event], status: u16, answer: &Value) -> Result<u64> {
        if status != 200 {
            self.put_back(batch.to_vec());
            return pause_ms(answer);
        }
        let outcomes = answer["outcomes"].as_array();
        let outcomes = outcomes.context("an answer without outcomes")?;
        ensure!(
            outcomes.len() == batch.len(),
            "{} outcomes of {} events",
            outcomes.len(),
            batch.len()
        );
        let mut again = Vec::new();
        let mut longest_ms = 0;
        for (event, outcome) in batch.iter().zip(outcomes) {
            if outcome["accepted"].is_object() {
                self.outcome.accepted += 1;
                self.plan.answered.fetch_add(1, Ordering::Relaxed);
            } else {
                again.push(*event);
                longest_ms = longest_ms.max(pause_ms(&outcome["error"])?);
            }
        }
        self.put_back(again);
        Ok(longest_ms)
    }

    fn put_back(&mut self, events: Vec<Event>) {
        self.outcome.sent_again += events.len() as u64;
        for event in events.into_iter().rev() {
            self.waiting.push_front(event);
        }
    }
}

/// How long to wait after a refusal; an error when a repeat does not help.
fn pause_ms(refusal: &Value) -> Result<u64> {
    ensure!(
        refusal["temporary"] == true,
        "the server API refused for good: {refusal}"
    );
    let named = refusal["retry_after_ms"].as_u64().unwrap_or_default();
    Ok(named.max(PAUSE_MS_LEAST))
}

/// The body of a request.
fn body_of(batch: &[Event], payload: &Payload, now_ns: u64) -> String {
    let mut body = String::from("{\"publishes\":[");
    let mut bytes = payload.bytes.clone();
    for (place, event) in batch.iter().enumerate() {
        let stamp = Stamp {
            sender: event.user,
            sequence: event.sequence,
            scheduled_ns: now_ns,
        };
        stamp.write(&mut bytes[payload.stamp_at..payload.stamp_at + STAMP_BYTES]);
        let comma = if place == 0 { "" } else { "," };
        let Event { user, sequence } = event;
        // Writing to a string cannot fail.
        let _ = write!(
            body,
            "{comma}{{\"channel\":\"user.{}\",\"event_type\":{},\"idempotency_key\":\
             \"{user}-{sequence}\",\"payload\":\"{}\"}}",
            name_of(*user),
            payload.event_type,
            STANDARD.encode(&bytes)
        );
    }
    body.push_str("]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_is_json_with_a_stamp_for_each_event() {
        let payload = Payload::new("user", 128).unwrap();
        let batch: Vec<Event> = (0..3).map(|user| Event { user, sequence: 7 }).collect();
        let body: Value = serde_json::from_str(&body_of(&batch, &payload, 5)).unwrap();
        let publishes = body["publishes"].as_array().unwrap();
        assert_eq!(publishes.len(), 3);
        for (user, publish) in (0..).zip(publishes) {
            assert_eq!(publish["channel"], json!(format!("user.a{user}")));
            let bytes = STANDARD
                .decode(publish["payload"].as_str().unwrap())
                .unwrap();
            let stamp = Stamp::find(&bytes, &mut 0).unwrap();
            let expected = Stamp {
                sender: user,
                sequence: 7,
                scheduled_ns: 5,
            };
            assert_eq!(stamp, expected);
        }
    }

    #[test]
    fn a_refusal_for_good_is_an_error_and_one_for_now_a_pause() {
        let refusal = json!({"temporary": true, "retry_after_ms": 40});
        assert_eq!(pause_ms(&refusal).unwrap(), 40);
        let now = json!({"temporary": true, "retry_after_ms": 0});
        assert_eq!(pause_ms(&now).unwrap(), PAUSE_MS_LEAST);
        assert!(pause_ms(&json!({"temporary": false})).is_err());
        assert!(pause_ms(&Value::Null).is_err());
    }
}
