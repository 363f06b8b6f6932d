//! Requests that come too fast.
//!
//! Purpose: each message of a client counts against the rates of its connection, its user and its
//! institution; one that has to be answered for each of many channels counts so many times. What
//! exceeds a rate is refused as `rate_limited` with the time to wait. A client that goes on
//! although it was told is not read for that time, at most a second, so that TCP slows it.
//!
//! Invariants: a refused request costs no rate anything. Answers to heartbeats are heard in any
//! case, acknowledgements that come too fast are dropped (a later one covers them), and repeats
//! of accepted publishes are answered; all of them count.
//!
//! Thread: the shard.

use interlink_protocol::frame::ClientFrame;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::session::rate::{Exceeded, Rate};
use interlink_protocol::ErrorCode;

use super::connection::{NONE, WARNED};
use super::session::Bounds;
use super::Shard;

/// As how many messages a frame counts.
fn cost_of(frame: &ClientFrame<'_>) -> u32 {
    let items = match frame {
        ClientFrame::Subscribe(frame) => frame.channels().len(),
        ClientFrame::Unsubscribe(frame) => frame.channels().len(),
        _ => 1,
    };
    // The decoder bounds the lists.
    items.max(1) as u32
}

impl Shard {
    /// Counts a message of a connection; its refusal if it comes too fast.
    pub(super) fn charge(&mut self, connection: u32, frame: &ClientFrame<'_>) -> Option<Refusal> {
        let exceeded = self.take_rates(connection, cost_of(frame)).err();
        let entry = &mut self.connections[connection];
        let Some(exceeded) = exceeded else {
            entry.clear(WARNED);
            return None;
        };
        let wait_ms = exceeded.wait_ms();
        if entry.is(WARNED) {
            self.pause_reading(connection, wait_ms);
        } else {
            entry.set(WARNED);
        }
        Some(Refusal {
            code: ErrorCode::RateLimited,
            retry_after_ms: wait_ms,
        })
    }

    fn take_rates(&mut self, connection: u32, cost: u32) -> Result<(), Exceeded> {
        let now_ns = self.clock.now_ns;
        let entry = &mut self.connections[connection];
        if entry.session == NONE {
            return Ok(());
        }
        let rates = &self.shared.rates;
        let user = &mut self.users[self.sessions[entry.session].user];
        let (own, institution) = match user.bounds {
            Bounds::Own(institution) => (true, Some(institution)),
            Bounds::Alone => (true, None),
            Bounds::Service(institution) => (false, Some(institution)),
            Bounds::Free => return Ok(()),
        };
        let rate = |rate: Rate| if own { rate } else { Rate::UNBOUNDED };
        let of_connection = rate(rates.connection).check(entry.arrival, now_ns, cost)?;
        let of_user = rate(rates.user).check(user.arrival, now_ns, cost)?;
        if let Some(institution) = institution {
            self.batches.take(rates, institution, now_ns)?;
        }
        (entry.arrival, user.arrival) = (of_connection, of_user);
        Ok(())
    }

    /// Answers a request that comes too fast; whether that was all that it needs.
    pub(super) fn refuse_excess(
        &mut self,
        connection: u32,
        frame: &ClientFrame<'_>,
        excess: Option<Refusal>,
    ) -> bool {
        let request_id = match frame {
            ClientFrame::Subscribe(frame) => frame.request_id(),
            ClientFrame::Unsubscribe(frame) => frame.request_id(),
            ClientFrame::History(frame) => frame.request_id(),
            ClientFrame::Presence(frame) => frame.request_id(),
            ClientFrame::Refresh(frame) => frame.request_id(),
            ClientFrame::Ack(_) => return true,
            // The publish decides with its class, so that none falls behind it.
            ClientFrame::Publish(_) | ClientFrame::Pong(_) | ClientFrame::Hello(_) => return false,
        };
        if let Some(refusal) = excess {
            self.reply_refusal(connection, refusal, request_id);
        }
        true
    }
}
