//! What a scenario tells the fleet, and what the fleet tells a scenario.
//!
//! Runs on: the generator's thread.

use super::link::Link;
use super::template::FrameWriter;
use super::tls::Secured;
use interlink_wire as wire;

/// Why a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// The peer closed it.
    Closed,
    /// The peer sent a WebSocket close frame with this code.
    CloseFrame(u16),
    /// The socket failed with this errno.
    Socket(i32),
    /// The peer answered the upgrade with another status than 101.
    Refused(u16),
    /// The server refused a subscription with this error code.
    SubscriptionRefused(u16),
    /// The peer sent what no server of this protocol sends.
    Protocol(&'static str),
    /// Set-up took longer than the limit.
    SetupTimeout,
}

/// A scenario's traffic. Calls come in the order of what happens; none may block.
pub trait Workload {
    /// Called once each turn, before anything is sent: sends what is due. Answers when it wants
    /// to be called again at latest, in monotonic nanoseconds.
    fn on_turn(&mut self, link: &mut Link) -> u64;

    /// Whether a sleep lasts until the time that [`Self::on_turn`] wanted, whatever comes in: for
    /// workloads that measure the server's CPU and no latency, since waking for each answer
    /// costs the generator more than the answer.
    fn sleeps_through(&self) -> bool {
        false
    }

    /// Writes the `Hello` of a client.
    fn hello(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        let _ = (client, writer, out);
    }

    /// Writes the `Subscribe` of a client; writing nothing means that it has no channels.
    fn subscribe(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        let _ = (client, writer, out);
    }

    /// The TLS handshake of a client is over.
    fn on_secured(&mut self, link: &mut Link, client: u32, secured: Secured<'_>) {
        let _ = (link, client, secured);
    }

    /// A client is connected, greeted and subscribed.
    fn on_live(&mut self, link: &mut Link, client: u32) {
        let _ = (link, client);
    }

    /// A frame of the server; heartbeats are answered by the fleet and are not reported.
    /// `Welcome` and `Subscribed` come before `on_live`.
    fn on_frame(&mut self, link: &mut Link, client: u32, kind: wire::Body, frame: &[u8]) {
        let _ = (link, client, kind, frame);
    }

    /// A data message on a connection without sessions (the echo path).
    fn on_message(&mut self, link: &mut Link, client: u32, message: &[u8]) {
        let _ = (link, client, message);
    }

    /// Bytes on a connection without WebSocket (the bare baselines).
    fn on_bytes(&mut self, link: &mut Link, client: u32, bytes: &[u8]) {
        let _ = (link, client, bytes);
    }

    /// A connection ended that the scenario did not close.
    fn on_end(&mut self, link: &mut Link, client: u32, cause: EndCause);
}
