//! Sessions, the users that they belong to, and their publishers.
//!
//! Purpose: identity. A session is an authenticated client and outlives its
//! connections for the resume window; a user is what all sessions of one account
//! on this shard share; a publisher holds what only sessions that publish need,
//! so that an idle session does not pay for it.
//!
//! Limits: a session is 80 bytes, a user 72 bytes beside its name and claims.
//!
//! Thread: the shard that is home of the user.

use interlink_protocol::claims::{ClaimsView, PackedClaims, ROLE_SERVICE};
use interlink_protocol::ids::{InstanceId, RecordIdPrefix, SessionKey};
use interlink_protocol::priority::Priority;
use interlink_protocol::session::{barrier::Barrier, publish::Credit, rate::Arrival};
use interlink_relay::dedupe::PublisherWindow;

use super::connection::NONE;
use crate::anomaly::spike::RecentPublishes;
use crate::auth::{TokenMark, UserToken};
use crate::rates::{RateKey, Rates};

/// An authenticated client.
#[derive(Debug)]
pub struct Session {
    /// Publisher instance of the newest connection.
    pub instance: InstanceId,
    /// Secret identity, shown to the client in `Welcome`.
    pub key: SessionKey,
    /// Index of the user.
    pub user: u32,
    /// Index of the connection, or [`NONE`] while the client is away.
    pub connection: u32,
    /// First subscription of the session's list, or [`NONE`].
    pub subscriptions: u32,
    /// Publisher state, or [`NONE`] before the first publish.
    pub publisher: u32,
    /// Next session of the same user, or [`NONE`].
    pub next_of_user: u32,
    /// Connections of this session so far.
    pub epoch: u32,
    /// Number of its last attachment to a connection, unlike any other on the shard.
    pub attachment: u32,
    /// While a client is connected, the Unix second at which its token ends; while it is away,
    /// the shard millisecond at which the session is forgotten.
    pub until: u32,
    /// When the newest token was issued, in Unix seconds.
    pub issued_at_s: u32,
    /// Hash of the newest token's identity, 0 when it has none.
    pub token_id: u64,
    /// Subscriptions in the list.
    pub subscription_count: u16,
    /// Unacknowledged publishes.
    pub credit: Credit,
}

const _: () = assert!(std::mem::size_of::<Session>() <= 80);

/// What the sessions of one account share.
#[derive(Debug)]
pub struct User {
    /// The `sub` claim.
    pub name: Box<str>,
    /// Claims of the newest token.
    pub claims: PackedClaims,
    /// First session of the list.
    pub sessions: u32,
    /// Publisher states of the user.
    pub publishers: u32,
    /// Place in the rate of a user.
    pub arrival: Arrival,
    /// By whose rate its requests are bounded.
    pub bounds: Bounds,
}

const _: () = assert!(std::mem::size_of::<User>() <= 72);

/// What bounds the rate of a user's requests beside the rate of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// Its own rate and that of its institution.
    Own(RateKey),
    /// Its own rate; it belongs to no institution.
    Alone,
    /// The rate of its institution: a back end.
    Service(RateKey),
    /// Nothing: a back end of no institution.
    Free,
}

impl Bounds {
    /// What follows from claims.
    pub fn of(claims: &impl ClaimsView, rates: &Rates) -> Self {
        let institution = rates.institution_key(claims.institution());
        match (claims.has_role(ROLE_SERVICE), institution) {
            (false, Some(institution)) => Self::Own(institution),
            (false, None) => Self::Alone,
            (true, Some(institution)) => Self::Service(institution),
            (true, None) => Self::Free,
        }
    }
}

/// A run of consecutive publishes that will be answered by one frame.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct AckRun {
    /// First id.
    pub first: u64,
    /// Number of ids; 0 is no run.
    pub count: u32,
    /// Level that was reached, as on the wire.
    pub level: u8,
    /// Whether a higher one was wanted and is out of reach.
    pub degraded: bool,
}

/// State of one publisher instance.
#[derive(Debug)]
pub struct Publisher {
    /// Identity of the client object.
    pub instance: InstanceId,
    /// Index of the user.
    pub user: u32,
    /// Session that publishes now, or [`NONE`].
    pub session: u32,
    /// Makes record ids.
    pub prefix: RecordIdPrefix,
    /// Accepted ids, for repeats.
    pub window: PublisherWindow,
    /// For each class, the id up to which everything is settled.
    pub settled: [u64; 4],
    /// For each class, the highest id that was acknowledged.
    pub acknowledged: [u64; 4],
    /// What the client was told of `settled`.
    pub told: [u64; 4],
    /// For each class, an id that is settled once nothing of the class is in flight.
    pub settles_later: [u64; 4],
    /// For each class, what was refused for now and must come before anything new.
    pub barrier: [Barrier; 4],
    /// For each class, publishes that are not settled.
    pub in_flight: [u32; 4],
    /// How much it published lately.
    pub recent: RecentPublishes,
    /// Acknowledgements that wait for the end of the batch.
    pub run: AckRun,
    /// Highest accepted id over all classes.
    pub highest: u64,
    /// Shard milliseconds of the last publish.
    pub last_used_ms: u32,
    /// Index of the channel of the last publish on this shard; another may have it by now.
    pub last_channel: u32,
    /// Whether the publisher is listed for the end of the batch.
    pub touched: bool,
}

impl User {
    /// A user without a session.
    pub fn new(name: Box<str>, claims: PackedClaims, rates: &Rates) -> Self {
        Self {
            name,
            bounds: Bounds::of(&claims, rates),
            claims,
            sessions: NONE,
            publishers: 0,
            arrival: Arrival::default(),
        }
    }

    /// Replaces the claims by those of a newer token.
    pub fn take_claims(&mut self, claims: PackedClaims, rates: &Rates) {
        self.bounds = Bounds::of(&claims, rates);
        self.claims = claims;
    }
}

impl Session {
    /// A session of `user` on its first connection.
    pub fn new(key: SessionKey, user: u32, connection: u32) -> Self {
        Self {
            instance: InstanceId(0),
            key,
            user,
            connection,
            subscriptions: NONE,
            publisher: NONE,
            next_of_user: NONE,
            epoch: 1,
            attachment: 0,
            until: 0,
            issued_at_s: 0,
            token_id: 0,
            subscription_count: 0,
            credit: Credit::default(),
        }
    }

    /// Notes the token with which a client is connected.
    pub fn take_token(&mut self, token: &UserToken) {
        self.until = token.claims.expires_at_s.min(u64::from(u32::MAX)) as u32;
        self.issued_at_s = token.mark.issued_at_s;
        self.token_id = token.mark.id;
    }

    /// By what the newest token can be revoked.
    pub fn mark(&self) -> TokenMark {
        TokenMark {
            id: self.token_id,
            issued_at_s: self.issued_at_s,
        }
    }

    /// Whether a client is connected.
    pub fn is_attached(&self) -> bool {
        self.connection != NONE
    }
}

impl AckRun {
    /// Adds the one id of `next` if it continues the run with the same outcome.
    pub fn extend(&mut self, next: &Self) -> bool {
        let continues = self.count > 0
            && next.first == self.first + u64::from(self.count)
            && (next.level, next.degraded) == (self.level, self.degraded);
        if continues {
            self.count += 1;
        }
        continues
    }
}

impl Publisher {
    /// A publisher that has published nothing yet.
    pub fn new(instance: InstanceId, user: u32, prefix: RecordIdPrefix) -> Self {
        Self {
            instance,
            user,
            session: NONE,
            prefix,
            window: PublisherWindow::default(),
            settled: [0; 4],
            acknowledged: [0; 4],
            told: [0; 4],
            settles_later: [0; 4],
            barrier: Default::default(),
            in_flight: [0; 4],
            recent: RecentPublishes::default(),
            run: AckRun::default(),
            highest: 0,
            last_used_ms: 0,
            last_channel: NONE,
            touched: false,
        }
    }

    /// Notes an accepted id.
    pub fn accepted(&mut self, class: Priority, id: u64, now_ms: u32) {
        self.highest = self.highest.max(id);
        self.last_used_ms = now_ms;
        self.barrier[class.index()].passed(id);
    }

    /// Whether the id was accepted and its acknowledgement is still to come.
    pub fn is_pending(&self, class: Priority, id: u64) -> bool {
        let class = class.index();
        self.in_flight[class] > 0 && id > self.settled[class].max(self.acknowledged[class])
    }

    /// How many settled ids the client has not been told of, at most.
    pub fn untold(&self) -> u64 {
        let classes = self.settled.iter().zip(self.told);
        classes
            .map(|(settled, told)| settled - told)
            .max()
            .unwrap_or(0)
    }

    /// An id that nothing is stored of is settled as soon as everything before it is.
    pub fn settle_now(&mut self, class: Priority, id: u64) {
        let class = class.index();
        if self.in_flight[class] == 0 {
            self.settled[class] = self.settled[class].max(id);
        } else {
            self.settles_later[class] = self.settles_later[class].max(id);
        }
    }

    /// Publishes up to an id, so many of them, are as safe as they will be.
    pub fn settle_durable(&mut self, class: Priority, (id, count): (u64, u32)) {
        let class = class.index();
        self.in_flight[class] -= count;
        self.settled[class] = self.settled[class].max(id);
        if self.in_flight[class] == 0 {
            self.settled[class] = self.settled[class].max(self.settles_later[class]);
        }
    }
}
