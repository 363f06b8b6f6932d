//! The bounded way from a subscriber's connection to the backplane.
//!
//! The library calls [`Gate::push`] from its connection's task and must not be held up. What
//! does not fit is dropped and noted; the backplane then reads the channels of the connection
//! again. Probes are noted here, so that a backplane that is slow to take messages does not
//! take its subscriber for wedged.
//!
//! Runs on: the backplane's runtime.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;

use super::limits::PUSH_BYTES_MAX;

/// A message of a connection.
#[derive(Debug)]
pub struct Push {
    /// The link of the connection.
    pub link: u64,
    /// Name of the pub/sub channel.
    pub channel: Vec<u8>,
    /// The message; empty when the connection has ended.
    pub payload: Vec<u8>,
}

/// One connection's side of the way.
#[derive(Debug)]
pub struct Gate {
    link: u64,
    probe_channel: String,
    sender: mpsc::Sender<Push>,
    /// Bytes under way, of all connections.
    bytes: Arc<AtomicUsize>,
    dropped: AtomicBool,
    ended: AtomicBool,
    probes: AtomicU64,
}

impl Gate {
    /// A gate of a link; `bytes` is shared by all.
    pub fn new(
        link: u64,
        probe_channel: String,
        sender: mpsc::Sender<Push>,
        bytes: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            link,
            probe_channel,
            sender,
            bytes,
            dropped: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            probes: AtomicU64::new(0),
        }
    }

    /// The name under which this connection hears its probes.
    pub fn probe_channel(&self) -> &str {
        &self.probe_channel
    }

    /// Takes what a connection has heard.
    pub fn push(&self, info: PushInfo) {
        match info.kind {
            PushKind::Message | PushKind::SMessage => {}
            PushKind::Disconnection => {
                self.ended.store(true, Ordering::Release);
                self.put(Vec::new(), Vec::new());
                return;
            }
            _ => return,
        }
        let mut data = info.data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
            (data.next(), data.next())
        else {
            return;
        };
        if channel == self.probe_channel.as_bytes() {
            self.probes.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let held = self.bytes.load(Ordering::Acquire);
        if held + payload.len() > PUSH_BYTES_MAX || !self.put(channel, payload) {
            self.dropped.store(true, Ordering::Release);
        }
    }

    fn put(&self, channel: Vec<u8>, payload: Vec<u8>) -> bool {
        let length = payload.len();
        // Counted before the other side can take it.
        self.bytes.fetch_add(length, Ordering::AcqRel);
        let push = Push {
            link: self.link,
            channel,
            payload,
        };
        let fits = self.sender.try_send(push).is_ok();
        if !fits {
            self.bytes.fetch_sub(length, Ordering::AcqRel);
        }
        fits
    }

    /// Whether messages were dropped since the last question.
    pub fn take_dropped(&self) -> bool {
        self.dropped.swap(false, Ordering::AcqRel)
    }

    /// Whether the connection has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Probes heard so far.
    pub fn probes(&self) -> u64 {
        self.probes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::limits::PUSHES_MAX;

    fn message(channel: &str, bytes: usize) -> PushInfo {
        PushInfo {
            kind: PushKind::Message,
            data: vec![
                Value::BulkString(channel.as_bytes().to_vec()),
                Value::BulkString(vec![0; bytes]),
            ],
        }
    }

    fn gate() -> (Gate, mpsc::Receiver<Push>) {
        let (sender, receiver) = mpsc::channel(PUSHES_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        (Gate::new(1, "probe".into(), sender, bytes), receiver)
    }

    #[test]
    fn what_does_not_fit_is_noted_and_nobody_waits() {
        let (gate, mut receiver) = gate();
        for _ in 0..PUSHES_MAX {
            gate.push(message("c", 1));
        }
        assert!(!gate.take_dropped());
        gate.push(message("c", 1));
        assert!(gate.take_dropped());
        assert!(!gate.take_dropped(), "once");
        assert_eq!(receiver.try_recv().expect("the first").payload.len(), 1);
    }

    #[test]
    fn bytes_are_bounded_as_messages_are() {
        let (gate, _receiver) = gate();
        gate.push(message("c", PUSH_BYTES_MAX));
        assert!(!gate.take_dropped());
        gate.push(message("c", 1));
        assert!(gate.take_dropped());
    }

    #[test]
    fn a_probe_is_heard_although_nobody_takes_messages() {
        let (gate, _receiver) = gate();
        for _ in 0..=PUSHES_MAX {
            gate.push(message("c", 1));
        }
        gate.push(message("probe", 1));
        assert_eq!(gate.probes(), 1);
    }
}
