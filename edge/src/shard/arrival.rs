//! A verified connection reaches the home shard of its user.
//!
//! Purpose: the hand-over. The shard that accepted sends an [`Arrival`] (descriptor,
//! identity, bytes that were read too far); the home shard installs the descriptors
//! of a turn in one call, creates or resumes the session, answers `Welcome`, uses up
//! the leftover bytes and only then arms the receive.
//!
//! Invariant: from here on nothing of the user is touched by two threads.
//!
//! Thread: the home shard, except [`Shard::send_home`].

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use interlink_protocol::claims::{Claims, ClaimsView, PackedClaims, ROLE_SERVICE};
use interlink_protocol::frame::LimitsFields;
use interlink_protocol::ids::{placement_hash, InstanceId, Position, SessionKey};
use interlink_protocol::priority::Priority;
use interlink_protocol::session::auth::{check_hello, close_code};
use interlink_protocol::websocket::Reader;
use interlink_protocol::ErrorCode;
use interlink_uring::{Kernel, RingGroup};
use interlink_wire as wire;

use super::connection::{Connection, NONE, RECEIVING};
use super::mesh::Message;
use super::secure::Secured;
use super::session::{Session, User};
use super::tokens::RefusedToken;
use super::Shard;
use crate::auth::UserToken;

/// Descriptors that one turn installs.
const INSTALLS_PER_TURN: usize = interlink_uring::limits::INSTALL_BATCH;

/// Who connects, from a verified `Hello`.
#[derive(Debug)]
pub struct Identity {
    /// The token.
    pub token: UserToken,
    /// Publisher instance.
    pub instance: InstanceId,
    /// The device; empty when it has no name.
    pub device: Box<str>,
    /// Earlier session to continue.
    pub resume: Option<Resume>,
}

/// What a client wants to continue.
#[derive(Debug)]
pub struct Resume {
    /// The earlier session.
    pub session: SessionKey,
    /// Last processed position of each channel.
    pub positions: Vec<(Box<str>, Position)>,
}

/// A connection on its way to its home shard.
#[derive(Debug)]
pub struct Arrival {
    /// The socket, without an operation in flight.
    pub descriptor: OwnedFd,
    /// Address of the client.
    pub peer: SocketAddr,
    /// Its TLS session, if it has one.
    pub secure: Option<Secured>,
    /// Who it is.
    pub identity: Identity,
    /// Bytes after the `Hello`.
    pub rest: Vec<u8>,
}

/// An arrival without its descriptor, while the kernel installs that.
#[derive(Debug)]
struct Installing {
    secure: Option<Secured>,
    identity: Identity,
    rest: Vec<u8>,
}

/// Arrivals of this turn for one group of rings.
#[derive(Debug, Default)]
struct Arriving {
    descriptors: Vec<OwnedFd>,
    waiting: Vec<Installing>,
}

/// Arrivals of this turn. Back ends are who publishes P0, so their connections are urgent: their
/// bytes are read first in each turn, whatever others have sent.
#[derive(Debug, Default)]
pub struct Arrivals {
    urgent: Arriving,
    common: Arriving,
}

impl Arrivals {
    /// Whether connections wait to be installed.
    pub fn are_waiting(&self) -> bool {
        !self.urgent.waiting.is_empty() || !self.common.waiting.is_empty()
    }

    fn group(&mut self, group: RingGroup) -> &mut Arriving {
        match group {
            RingGroup::Urgent => &mut self.urgent,
            RingGroup::Common => &mut self.common,
        }
    }
}

impl Shard {
    /// Checks a `Hello`.
    pub(super) fn verify_hello(&self, hello: &wire::Hello<'_>) -> Result<Identity, RefusedToken> {
        let request = check_hello(hello)?;
        let token = self.check_user_token(request.token)?;
        let resume = request.session.map(|session| Resume {
            session,
            positions: request
                .positions()
                .map(|(name, at)| (name.into(), at))
                .collect(),
        });
        Ok(Identity {
            token,
            instance: request.instance,
            device: request.device.into(),
            resume,
        })
    }

    /// Sends a verified connection to the home shard of its user.
    pub(super) fn send_home(&mut self, arrival: Box<Arrival>) {
        let home = placement_hash(arrival.identity.token.claims.user.as_bytes());
        let shard = (home % u64::from(self.shards)) as u16;
        if shard == self.id {
            return self.arrive(*arrival);
        }
        self.counters.connections_handed_over += 1;
        // Authentication is P0; the number of arrivals is bounded by unfinished handshakes.
        self.mesh
            .send(shard, Priority::P0, Message::Arrive(arrival));
    }

    /// Takes a connection in; it is installed at the end of the turn.
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        let Arrival {
            descriptor,
            secure,
            identity,
            rest,
            ..
        } = arrival;
        let service = identity.token.claims.has_role(ROLE_SERVICE);
        let group = match service {
            true => RingGroup::Urgent,
            false => RingGroup::Common,
        };
        let arriving = self.arrivals.group(group);
        arriving.descriptors.push(descriptor);
        arriving.waiting.push(Installing {
            secure,
            identity,
            rest,
        });
    }

    /// Installs what arrived; returns whether anything did.
    pub(super) fn install_arrivals<K: Kernel>(&mut self, kernel: &mut K) -> bool {
        let urgent = self.install_group(kernel, RingGroup::Urgent);
        self.install_group(kernel, RingGroup::Common) || urgent
    }

    fn install_group<K: Kernel>(&mut self, kernel: &mut K, group: RingGroup) -> bool {
        let mut outcomes = std::mem::take(&mut self.install_outcomes);
        let arriving = self.arrivals.group(group);
        if arriving.waiting.is_empty() {
            self.install_outcomes = outcomes;
            return false;
        }
        kernel.install(group, &mut arriving.descriptors, &mut outcomes);
        debug_assert!(outcomes.len() <= INSTALLS_PER_TURN);
        let waiting: Vec<Installing> = arriving.waiting.drain(..outcomes.len()).collect();
        for (outcome, arrival) in outcomes.iter().zip(waiting) {
            match outcome {
                Ok(socket) => self.welcome_arrival(kernel, *socket, arrival),
                Err(_) => self.counters.refusals.add(ErrorCode::Overloaded),
            }
        }
        self.install_outcomes = outcomes;
        true
    }

    fn welcome_arrival<K: Kernel>(
        &mut self,
        kernel: &mut K,
        socket: interlink_uring::SocketId,
        arrival: Installing,
    ) {
        let connection = self
            .connections
            .insert(Connection::new(socket, Reader::server()));
        self.open_connections += 1;
        let Installing {
            secure,
            identity,
            mut rest,
        } = arrival;
        if let Some(secured) = secure {
            self.secure(connection, secured);
        }
        if let Err(code) = self.attach(connection, identity) {
            self.reply_error(connection, code, 0);
            self.close_with(connection, close_code(code));
        } else if !rest.is_empty() {
            self.on_plain_bytes(connection, &mut rest);
        }
        self.schedule_heartbeat(connection);
        self.connections[connection].set(RECEIVING);
        kernel.arm_receive(socket);
    }

    /// Gives the connection a session: the earlier one if it can be resumed, else a new one.
    fn attach(&mut self, connection: u32, identity: Identity) -> Result<(), ErrorCode> {
        let Identity {
            token,
            instance,
            device,
            resume,
        } = identity;
        let claims = &token.claims;
        let revocations = &self.tokens.revocations;
        if revocations.cover(&claims.user, &claims.institution, token.mark) {
            // The list has changed while the connection was on its way.
            return Err(ErrorCode::TokenRevoked);
        }
        let user = self.user_entry(&token.claims);
        let user = user.ok_or(ErrorCode::Overloaded)?;
        let earlier = resume
            .as_ref()
            .and_then(|resume| self.resumable(user, resume.session));
        let session = match earlier {
            Some(session) => {
                self.take_over(session);
                self.counters.sessions_resumed += 1;
                let entry = &mut self.sessions[session];
                entry.connection = connection;
                entry.epoch += 1;
                session
            }
            None => self
                .new_session(user, connection, instance)
                .ok_or(ErrorCode::Overloaded)?,
        };
        self.sessions[session].take_token(&token);
        self.cursors.set_device(session, device);
        self.attachments = self.attachments.wrapping_add(1);
        self.sessions[session].instance = instance;
        self.sessions[session].attachment = self.attachments;
        self.connections[connection].session = session;
        self.bind_publisher(session);
        self.send_welcome(connection, session, earlier.is_some(), resume.as_ref());
        Ok(())
    }

    /// A session of `user` with this key that may be continued.
    fn resumable(&self, user: u32, key: SessionKey) -> Option<u32> {
        let session = self.find_session(key)?;
        (self.sessions[session].user == user).then_some(session)
    }

    /// Ends the earlier connection of a session that continues elsewhere; its unread bytes
    /// are dropped with it.
    fn take_over(&mut self, session: u32) {
        let earlier = self.sessions[session].connection;
        if earlier != NONE {
            self.counters.sessions_taken_over += 1;
            self.close_with(earlier, interlink_protocol::CloseCode::TakenOver);
        }
    }

    fn new_session(&mut self, user: u32, connection: u32, instance: InstanceId) -> Option<u32> {
        if self.sessions.len() >= self.limits.max_sessions && !self.forget_longest_absent() {
            return None;
        }
        let key = SessionKey(self.random.next_u128());
        let mut record = Session::new(key, user, connection);
        record.instance = instance;
        record.next_of_user = self.users[user].sessions;
        let session = self.sessions.insert(record)?;
        self.users[user].sessions = session;
        self.index_session(key, session);
        self.counters.sessions_created += 1;
        Some(session)
    }

    /// The entry of the user, with the claims of the newest token.
    fn user_entry(&mut self, claims: &Claims) -> Option<u32> {
        let packed = PackedClaims::pack(claims).ok()?;
        if let Some(user) = self.find_user(&claims.user) {
            self.users[user].take_claims(packed, &self.shared.rates);
            return Some(user);
        }
        let name: Box<str> = claims.user.as_str().into();
        let user = User::new(name, packed, &self.shared.rates);
        let user = self.users.insert(user)?;
        self.index_user(user);
        Some(user)
    }

    fn send_welcome(
        &mut self,
        connection: u32,
        session: u32,
        resumed: bool,
        resume: Option<&Resume>,
    ) {
        let restored = match resume {
            Some(resume) if resumed => self.restore_subscriptions(session, &resume.positions),
            _ => Vec::new(),
        };
        let (highest_accepted, settled_through) = self.publisher_standing(session);
        let mut encoder = self.take_encoder();
        let restored_fields = self.restored_fields(&restored);
        let entry = &self.sessions[session];
        let frame = encoder.welcome(&interlink_protocol::frame::WelcomeFields {
            session: entry.key,
            session_epoch: entry.epoch,
            user: &self.users[entry.user].name,
            node: &self.limits.node,
            region: &self.limits.region,
            server_time_us: self.clock.unix_us,
            heartbeat_ms: self.limits.heartbeat_ms,
            heartbeat_timeout_ms: self.limits.heartbeat_timeout_ms,
            limits: LimitsFields {
                frame_bytes: self.limits.websocket.frame_bytes,
                subscriptions: self.limits.subscriptions_per_session,
                ..LimitsFields::default()
            },
            resume_window_ms: self.limits.resume_window_ms,
            resumed,
            restored: &restored_fields,
            highest_accepted,
            settled_through,
        });
        drop(restored_fields);
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
        self.begin_restored(connection, &restored);
    }
}
