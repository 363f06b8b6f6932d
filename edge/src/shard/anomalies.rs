//! What a shard notices: refusals and publishes go to the detector, findings to people.
//!
//! Purpose: each refused token, refused channel and publish of a client is shown to
//! [`Anomalies`](crate::anomaly::Anomalies); a finding is counted and published as a security
//! alert on [`CHANNEL`], of class P0.
//!
//! Limits: those of the detector on what is told; an alert that finds no room is counted.
//!
//! Thread: the shard.

use std::net::IpAddr;

use flatbuffers::FlatBufferBuilder;
use interlink_protocol::claims::ClaimsView;
use interlink_protocol::ErrorCode;
use interlink_wire::{event_types, events};

use super::connection::NONE;
use super::session::Bounds;
use super::tokens::RefusedToken;
use super::Shard;
use crate::anomaly::{Anomaly, Finding};

/// Where findings are told.
const CHANNEL: &str = "sys.security";

impl Shard {
    /// The token of a `Hello` was refused.
    pub(super) fn note_failed_hello(&mut self, peer: IpAddr, refused: &RefusedToken) {
        let (now_ns, code) = (self.clock.now_ns, refused.code);
        let anomalies = &self.shared.anomalies;
        let found = [
            anomalies.failed_at(peer, code, now_ns),
            anomalies.failed_of(&refused.institution, code, now_ns),
        ];
        found
            .into_iter()
            .flatten()
            .for_each(|found| self.tell(&found));
    }

    /// The token of a `Refresh` was refused.
    pub(super) fn note_failed_refresh(&mut self, connection: u32, code: ErrorCode) {
        let session = self.connections[connection].session;
        if session == NONE {
            return;
        }
        let claims = &self.users[self.sessions[session].user].claims;
        let anomalies = &self.shared.anomalies;
        if let Some(found) = anomalies.failed_of(claims.institution(), code, self.clock.now_ns) {
            self.tell(&found);
        }
    }

    /// A channel was refused to a session.
    pub(super) fn note_refused_channel(&mut self, session: u32, code: ErrorCode) {
        let user = &self.users[self.sessions[session].user];
        let anomalies = &self.shared.anomalies;
        if let Some(found) = anomalies.refused_to(&user.name, code, self.clock.now_ns) {
            self.tell(&found);
        }
    }

    /// A publisher publishes, whether or not it may.
    pub(super) fn note_publish(&mut self, publisher: u32) {
        let now_ms = self.clock.now_ms;
        let entry = &mut self.publishers[publisher];
        let rule = self.shared.anomalies.spikes;
        if !entry.recent.count(now_ms, rule) {
            return;
        }
        let user = &self.users[entry.user];
        if matches!(user.bounds, Bounds::Service(_) | Bounds::Free) {
            return;
        }
        if let Some(found) = self.shared.anomalies.spiked(&user.name, self.clock.now_ns) {
            self.tell(&found);
        }
    }

    fn tell(&mut self, found: &Finding) {
        self.counters.anomalies.add(found.anomaly);
        let told = found.is_told
            && self
                .publish_as_system(CHANNEL, event_types::SECURITY_ALERT, &alert(found))
                .is_ok();
        self.counters.anomalies_untold += u64::from(!told);
    }
}

/// The payload of the event.
fn alert(found: &Finding) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let fields = events::SecurityAlertArgs {
        rule: Some(builder.create_string(found.anomaly.name())),
        severity: match found.anomaly {
            Anomaly::PublishSpike => events::Severity::Notice,
            Anomaly::FailedAuthentications | Anomaly::Enumeration => events::Severity::Warning,
        },
        summary: Some(builder.create_string(found.anomaly.summary())),
        subject: Some(builder.create_string(&found.subject)),
        link: None,
    };
    let root = events::SecurityAlert::create(&mut builder, &fields);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}
