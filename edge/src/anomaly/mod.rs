//! Anomalies: what single requests do not show and many do.
//!
//! Purpose: from refusals and publishes to findings that people should see.
//!
//! - **Failed authentications**: more refused tokens of one address, or of one institution as far
//!   as signatures say whose they are, than a minute may have.
//! - **Enumeration**: more refused channels of one user than a minute may have.
//! - **Publish spikes**: a publisher that publishes many times what it usually does
//!   ([`spike`]).
//!
//! Invariants: a finding is told once for its subject until [`limits::QUIET_S`] have passed, and
//! all of a node at most [`limits::TOLD_PER_MINUTE`] times a minute; expired tokens are no
//! failure, since a school that comes back from its holidays has only such. No lock; everything
//! has a size from the start; an attacker's names take places of fixed size and nothing else.
//!
//! Runs on: any thread; time is an argument.

pub mod limits;
pub mod spike;

use std::net::IpAddr;

use interlink_protocol::session::rate::Rate;
use interlink_protocol::ErrorCode;

use crate::config::Config;
use crate::rates::limits::WAYS;
use crate::rates::{network_of, RateTable};
use limits::{FAILING, QUIET_S, TOLD, TOLD_PER_MINUTE, WINDOW_S};
use spike::SpikeRule;

/// What kinds of anomalies there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anomaly {
    /// Many refused tokens.
    FailedAuthentications,
    /// Many refused channels.
    Enumeration,
    /// Many publishes at once.
    PublishSpike,
}

impl Anomaly {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::FailedAuthentications,
        Self::Enumeration,
        Self::PublishSpike,
    ];

    /// Stable name, for metrics and as the rule of alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FailedAuthentications => "failed_authentications",
            Self::Enumeration => "enumeration",
            Self::PublishSpike => "publish_spike",
        }
    }

    /// What happened, for people.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::FailedAuthentications => {
                "More tokens were refused within a minute than this deployment allows."
            }
            Self::Enumeration => {
                "More channels were refused to a user within a minute than this deployment allows."
            }
            Self::PublishSpike => "A user publishes many times as much as usual.",
        }
    }
}

/// Something that people should see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is.
    pub anomaly: Anomaly,
    /// Whom it is about: `address ...`, `institution ...` or `user ...`.
    pub subject: String,
    /// False when so much was told in this minute that it is counted only.
    pub is_told: bool,
}

/// What a node has noticed.
#[derive(Debug)]
pub struct Anomalies {
    failures: Rate,
    refusals: Rate,
    /// When a publisher's part is a spike.
    pub spikes: SpikeRule,
    addresses: RateTable,
    institutions: RateTable,
    users: RateTable,
    told: RateTable,
    /// One place for all findings, which no subject can take.
    told_in_all: RateTable,
}

/// Once in a quiet time for each subject.
const AGAIN: Rate = Rate::new(1, QUIET_S, 1);
/// All findings of a node.
const IN_ALL: Rate = Rate::new(TOLD_PER_MINUTE, 60, TOLD_PER_MINUTE);

impl Anomalies {
    /// Nothing noticed yet; `seed` is secret.
    pub fn new(config: &Config, seed: u64) -> Self {
        let config = &config.anomalies;
        let in_window = |count: u32| Rate::new(count, WINDOW_S, count);
        Self {
            failures: in_window(config.failed_authentications),
            refusals: in_window(config.refused_channels),
            spikes: SpikeRule {
                factor: config.spike_factor,
                floor: config.spike_publishes,
            },
            addresses: RateTable::new(FAILING, seed),
            institutions: RateTable::new(FAILING, seed),
            users: RateTable::new(FAILING, seed),
            told: RateTable::new(TOLD, seed),
            told_in_all: RateTable::new(WAYS, seed),
        }
    }

    /// A token that came from an address was refused.
    pub fn failed_at(&self, address: IpAddr, code: ErrorCode, now_ns: u64) -> Option<Finding> {
        if !is_failure(code) {
            return None;
        }
        let network = network_of(address);
        exceeds(&self.addresses, &self.failures, &network, now_ns)
            .then(|| {
                let subject = format!("address {}", address.to_canonical());
                // All addresses of one network are one subject.
                self.finding(Anomaly::FailedAuthentications, &network, subject, now_ns)
            })
            .flatten()
    }

    /// A token was refused that was signed for somebody of an institution, or came from its user.
    pub fn failed_of(&self, institution: &str, code: ErrorCode, now_ns: u64) -> Option<Finding> {
        if institution.is_empty() || !is_failure(code) {
            return None;
        }
        let name = institution.as_bytes();
        exceeds(&self.institutions, &self.failures, name, now_ns)
            .then(|| {
                let subject = format!("institution {institution}");
                let key = subject.clone();
                self.finding(
                    Anomaly::FailedAuthentications,
                    key.as_bytes(),
                    subject,
                    now_ns,
                )
            })
            .flatten()
    }

    /// A channel was refused to a user.
    pub fn refused_to(&self, user: &str, code: ErrorCode, now_ns: u64) -> Option<Finding> {
        let is_refusal = matches!(
            code,
            ErrorCode::NotPermitted
                | ErrorCode::NamespaceUnknown
                | ErrorCode::SubscriptionTokenRequired
                | ErrorCode::SubscriptionTokenInvalid
        );
        if !is_refusal || !exceeds(&self.users, &self.refusals, user.as_bytes(), now_ns) {
            return None;
        }
        self.of_user(Anomaly::Enumeration, user, now_ns)
    }

    /// A publisher of a user has a spike.
    pub fn spiked(&self, user: &str, now_ns: u64) -> Option<Finding> {
        self.of_user(Anomaly::PublishSpike, user, now_ns)
    }

    fn of_user(&self, anomaly: Anomaly, user: &str, now_ns: u64) -> Option<Finding> {
        let subject = format!("user {user}");
        let key = subject.clone();
        self.finding(anomaly, key.as_bytes(), subject, now_ns)
    }

    /// The finding, unless it was told lately.
    fn finding(
        &self,
        anomaly: Anomaly,
        key: &[u8],
        subject: String,
        now_ns: u64,
    ) -> Option<Finding> {
        let mut name = anomaly.name().as_bytes().to_vec();
        name.push(0);
        name.extend_from_slice(key);
        if exceeds(&self.told, &AGAIN, &name, now_ns) {
            return None;
        }
        let is_told = !exceeds(&self.told_in_all, &IN_ALL, b"all", now_ns);
        Some(Finding {
            anomaly,
            subject,
            is_told,
        })
    }
}

/// Counts one of a key; whether it is too many.
fn exceeds(table: &RateTable, rate: &Rate, key: &[u8], now_ns: u64) -> bool {
    table.take(table.key(key), rate, now_ns, 1).is_err()
}

/// Whether a refused token speaks of an attack.
fn is_failure(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TokenInvalid
            | ErrorCode::TokenWrongAudience
            | ErrorCode::TokenRevoked
            | ErrorCode::UserChanged
    )
}

#[cfg(test)]
mod tests;
