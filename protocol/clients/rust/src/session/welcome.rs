//! What a `Welcome` changes.
//!
//! Purpose: brings every mechanism onto the new connection, resumed or not.
//! Runs on: any thread; it belongs to one task.

use interlink_protocol::ids::Position;
use interlink_wire as wire;

use super::incoming::{marks, milliseconds};
use super::{Session, SessionEvent};
use crate::event::{GapReason, Recovery, ServerInfo};

impl Session {
    pub(super) fn on_welcome(&mut self, welcome: &wire::Welcome<'_>, now_ms: u64) {
        if !self.connect.on_welcome() {
            return;
        }
        self.take_limits(welcome);
        if self.config.token_renewable {
            self.refresh.on_welcome(welcome.server_time_us(), now_ms);
        }
        self.resume
            .on_welcome(welcome.session().into(), welcome.resume_window_ms());
        let settled = welcome.settled_through().map(marks).unwrap_or_default();
        self.publishes
            .on_welcome(welcome.resumed(), welcome.highest_accepted(), settled);
        self.show_state();
        self.events.push_back(SessionEvent::Welcomed(ServerInfo {
            user: welcome.user().into(),
            node: welcome.node().unwrap_or_default().into(),
            region: welcome.region().unwrap_or_default().into(),
            resumed: welcome.resumed(),
        }));
        if welcome.resumed() {
            for restored in welcome.restored().into_iter().flatten() {
                self.on_restored(&restored, now_ms);
            }
        }
    }

    fn take_limits(&mut self, welcome: &wire::Welcome<'_>) {
        self.heartbeat
            .on_welcome(welcome.heartbeat_ms(), welcome.heartbeat_timeout_ms());
        let Some(limits) = welcome.limits() else {
            return;
        };
        if limits.frame_bytes() > 0 {
            self.frame_bytes = limits.frame_bytes() as usize;
        }
        self.publishes
            .on_credit(limits.publish_credit(), limits.publish_credit_critical());
        self.subscriptions.on_limit(limits.subscriptions());
    }

    fn on_restored(&mut self, restored: &wire::RestoredSubscription<'_>, now_ms: u64) {
        let position = Position::from(restored.position());
        let recovery = Recovery {
            recovered: restored.recovered(),
            reason: GapReason::from_wire(restored.reason()),
            following: restored.following(),
            history_from: restored.history_from().map(Position::from),
            retry_after: milliseconds(restored.retry_after_ms()),
        };
        let channel = restored.channel();
        let outcome = self.subscriptions.on_restored(channel, position, recovery);
        self.report_outcome(channel, outcome, Some(position), now_ms);
    }
}
