//! The echo and the storm reference: so many bytes in, so many bytes out.
//!
//! Invariants: one send for each socket and submission; an answer owed while the socket is full
//! is kept and sent when there is room. Connections beyond the slots are not accepted.
//!
//! Runs on: the only thread of its process.

use super::listener;
use super::ring::{BareRing, Completion, Operation};
use super::script::{Progress, Script};
use crate::limits::{RECEIVE_CAP_BYTES, SLOTS_PER_RING};
use crate::sys;
use anyhow::{bail, Result};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// Receives of one connection in one turn whose answers leave as one send.
const RECEIVES_JOINED: u32 = 32;

/// What to answer, and where.
#[derive(Clone, Debug)]
pub struct ExchangeConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The steps of each connection.
    pub script: Script,
}

#[derive(Clone, Copy, Default)]
struct Connection {
    progress: Progress,
    /// Bytes owed and not sent.
    owed: u32,
    /// Bytes of the last send, of which a part may come back.
    sent: u32,
    is_queued: bool,
    is_blocked: bool,
}

struct Exchange {
    ring: BareRing,
    script: Script,
    connections: Vec<Connection>,
    /// Slots that are owed bytes.
    ready: Vec<u32>,
    listener: i32,
    answer_bytes_max: u32,
}

/// Serves until the process is killed.
pub fn run(config: ExchangeConfig) -> Result<()> {
    let slots = (sys::raise_open_files() as u32).min(SLOTS_PER_RING);
    let answer_bytes_max = config
        .script
        .largest_answer(RECEIVES_JOINED * RECEIVE_CAP_BYTES);
    let listener = listener::open(config.listen)?;
    let mut exchange = Exchange {
        ring: BareRing::new(slots, answer_bytes_max as usize)?,
        script: config.script,
        connections: vec![Connection::default(); slots as usize],
        ready: Vec::new(),
        listener: listener.as_raw_fd(),
        answer_bytes_max,
    };
    exchange.ring.accept(exchange.listener)?;
    listener::announce(config.listen);
    let mut completions = Vec::new();
    loop {
        let wanted = usize::from(exchange.ready.is_empty());
        exchange.ring.turn(wanted, &mut completions)?;
        for completion in &completions {
            exchange.on_completion(completion)?;
        }
        exchange.flush()?;
    }
}

impl Exchange {
    fn on_completion(&mut self, completion: &Completion) -> Result<()> {
        match completion.operation {
            Operation::Accept => self.on_accept(completion),
            Operation::Receive => self.on_receive(completion),
            Operation::Send => self.on_send(completion),
            Operation::Writable => {
                let connection = &mut self.connections[completion.slot as usize];
                connection.is_blocked = false;
                self.queue(completion.slot);
                Ok(())
            }
            Operation::Close => Ok(()),
        }
    }

    fn on_accept(&mut self, completion: &Completion) -> Result<()> {
        if !completion.is_followed {
            self.ring.accept(self.listener)?;
        }
        if completion.result >= 0 {
            let slot = completion.result as u32;
            self.connections[slot as usize] = Connection::default();
            self.ring.receive(slot)?;
        }
        Ok(())
    }

    fn on_receive(&mut self, completion: &Completion) -> Result<()> {
        let slot = completion.slot;
        if completion.result > 0 {
            let received = completion.result as u32;
            let Some(buffer) = completion.buffer else {
                bail!("a receive without a buffer")
            };
            self.ring.give_back(buffer, received);
            let connection = &mut self.connections[slot as usize];
            connection.owed += self.script.advance(&mut connection.progress, received);
            if connection.owed > 0 {
                self.queue(slot);
            }
        }
        if completion.is_followed {
            return Ok(());
        }
        if completion.result > 0 || completion.result == -libc::ENOBUFS {
            self.ring.receive(slot)
        } else {
            self.ring.close(slot)
        }
    }

    /// A send that did not take everything: the first bytes, or none.
    fn on_send(&mut self, completion: &Completion) -> Result<()> {
        let connection = &mut self.connections[completion.slot as usize];
        let taken = match completion.result {
            errno if errno == -libc::EAGAIN => 0,
            taken if taken >= 0 => taken as u32,
            // The connection is gone; its receive says so too.
            _ => return Ok(()),
        };
        connection.owed += connection.sent - taken;
        connection.is_blocked = true;
        self.ring.wait_writable(completion.slot)
    }

    fn queue(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if !connection.is_queued && !connection.is_blocked && connection.owed > 0 {
            connection.is_queued = true;
            self.ready.push(slot);
        }
    }

    fn flush(&mut self) -> Result<()> {
        let mut kept = Vec::new();
        for slot in self.ready.drain(..) {
            let connection = &mut self.connections[slot as usize];
            connection.sent = connection.owed.min(self.answer_bytes_max);
            connection.owed -= connection.sent;
            connection.is_queued = connection.owed > 0;
            if connection.is_queued {
                kept.push(slot);
            }
            self.ring.send(slot, connection.sent)?;
        }
        self.ready = kept;
        Ok(())
    }
}
