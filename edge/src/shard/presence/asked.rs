//! Pages for clients of this shard.
//!
//! Purpose: checks a `Presence` frame as a subscription would be checked, asks the owner, and
//! sends the page. Who subscribes already may ask; everybody else needs the permission.
//!
//! Limits: [`ASKS_PER_CONNECTION`] requests of a connection wait; a page is refused to one that
//! does not read.
//!
//! Thread: the home shard of the client.

use std::collections::HashMap;

use interlink_protocol::channel::ChannelName;
use interlink_protocol::limits::PAGE_TOKEN_BYTES;
use interlink_protocol::ErrorCode;
use interlink_relay::presence::PresencePage;
use interlink_uring::SocketId;
use interlink_wire as wire;

use super::limits::{ASKS_PER_CONNECTION, WAITING_BYTES_MAX};
use super::messages::{Answer, Ask, Asker, PresenceMessage};
use super::owned::fields;
use crate::shard::connection::NONE;
use crate::shard::Shard;

/// Requests of connections that wait for their owners.
#[derive(Debug, Default)]
pub(super) struct Asked(HashMap<SocketId, u8>);

impl Asked {
    fn add(&mut self, socket: SocketId) {
        *self.0.entry(socket).or_default() += 1;
    }

    fn remove(&mut self, socket: SocketId) {
        if let Some(count) = self.0.get_mut(&socket) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&socket);
            }
        }
    }

    fn is_full(&self, socket: SocketId) -> bool {
        self.0
            .get(&socket)
            .is_some_and(|count| *count >= ASKS_PER_CONNECTION)
    }
}

impl Shard {
    /// A client asks who is present.
    pub(in crate::shard) fn on_presence_frame(
        &mut self,
        connection: u32,
        frame: &wire::Presence<'_>,
    ) {
        let session = self.connections[connection].session;
        if session == NONE {
            return;
        }
        let request_id = frame.request_id();
        if let Err(code) = self.check_presence(session, connection, frame) {
            self.note_refused_channel(session, code);
            return self.reply_error(connection, code, request_id);
        }
        let socket = self.connections[connection].socket;
        self.presence.asked.add(socket);
        let ask = Ask {
            from: self.id,
            asker: Asker::Client { socket, request_id },
            scope: frame.channel().into(),
            after: frame.page().map(Into::into),
        };
        let owner = self.owner_of(frame.channel());
        self.send_presence(owner, PresenceMessage::Ask(ask));
    }

    fn check_presence(
        &self,
        session: u32,
        connection: u32,
        frame: &wire::Presence<'_>,
    ) -> Result<(), ErrorCode> {
        if self
            .presence
            .asked
            .is_full(self.connections[connection].socket)
        {
            return Err(ErrorCode::RateLimited);
        }
        if frame
            .page()
            .is_some_and(|page| page.len() > PAGE_TOKEN_BYTES)
        {
            return Err(ErrorCode::PageInvalid);
        }
        let name = ChannelName::parse(frame.channel()).map_err(|_| ErrorCode::ChannelInvalid)?;
        let policy = self.shared.namespaces.lookup(&name);
        if !policy.ok_or(ErrorCode::NamespaceUnknown)?.presence {
            return Err(ErrorCode::PresenceUnavailable);
        }
        let subscribed = self
            .find_channel(name.as_str())
            .is_some_and(|channel| self.find_subscription(session, channel).is_some());
        match subscribed {
            true => Ok(()),
            false => self.check_permission(session, &name, None).map(drop),
        }
    }

    /// The owner has answered.
    pub(super) fn on_presence_answer(&mut self, answer: &Answer) {
        let Asker::Client { socket, request_id } = answer.asker else {
            return;
        };
        self.presence.asked.remove(socket);
        let Some(connection) = self.connection_of(socket) else {
            return;
        };
        let waiting = self.queues.waiting(self.connections[connection].queue);
        match &answer.page {
            Ok(page) if waiting.len() <= WAITING_BYTES_MAX => {
                self.send_page(connection, request_id, &answer.scope, page);
            }
            Ok(_) => self.reply_error(connection, ErrorCode::Overloaded, request_id),
            Err(code) => self.reply_error(connection, *code, request_id),
        }
    }

    fn send_page(&mut self, connection: u32, request_id: u32, scope: &str, page: &PresencePage) {
        let mut encoder = self.take_encoder();
        let members = fields(&page.members);
        let rest = (page.next.as_deref(), page.is_stale);
        let frame = encoder.presence_page(request_id, scope, page.count, &members, rest);
        self.queue_frame(connection, frame);
        self.encoder = Some(encoder);
    }
}
