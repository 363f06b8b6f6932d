//! Listeners of the kernel in memory.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::sockets::Peer;
use super::{Ready, ScriptedKernel};
use crate::event::Event;

#[derive(Default)]
pub(super) struct Listener {
    armed: usize,
    closed: bool,
    backlog: VecDeque<(Peer, SocketAddr)>,
    failures: VecDeque<i32>,
}

impl Listener {
    pub(super) fn arm(&mut self, armed: usize) {
        self.armed = if self.closed { 0 } else { armed };
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.armed = 0;
    }
}

impl ScriptedKernel {
    /// Adds a listener; answers its number for [`Kernel::accept`](crate::Kernel::accept).
    pub fn add_listener(&mut self) -> u8 {
        self.listeners.push(Listener::default());
        (self.listeners.len() - 1) as u8
    }

    /// A client connects to a listener from `address` and waits in the backlog. It may send at
    /// once.
    pub fn connect(&mut self, listener: u8, address: SocketAddr) -> Peer {
        let peer = self.sockets.add();
        self.listeners[usize::from(listener)]
            .backlog
            .push_back((peer, address));
        peer
    }

    /// The next accept of the listener fails with `errno`.
    pub fn fail_accept(&mut self, listener: u8, errno: i32) {
        self.listeners[usize::from(listener)]
            .failures
            .push_back(errno);
    }

    pub(super) fn clients_wait(&self) -> bool {
        self.listeners.iter().any(|listener| {
            listener.armed > 0 && !(listener.backlog.is_empty() && listener.failures.is_empty())
        })
    }

    /// Accepts as many clients as accepts are armed: one enter ends each accept at most once.
    pub(super) fn accept_clients(&mut self) {
        for number in 0..self.listeners.len() {
            let mut armed = self.listeners[number].armed;
            while armed > 0 {
                armed -= 1;
                let listener = &mut self.listeners[number];
                if let Some(errno) = listener.failures.pop_front() {
                    let out_of_room =
                        [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].contains(&errno);
                    if out_of_room {
                        listener.armed = 0;
                        armed = 0;
                    }
                    self.counters.accept_failures += 1;
                    let failed = Event::AcceptFailed {
                        listener: number as u8,
                        errno,
                    };
                    self.ready.push_back(Ready::Event(failed));
                } else if let Some((peer, address)) = listener.backlog.pop_front() {
                    self.counters.accepted += 1;
                    listener.armed -= 1;
                    let descriptor = self.sockets.hand_out(peer);
                    let listener = number as u8;
                    let accepted = Event::Accepted {
                        listener,
                        descriptor,
                        peer: address,
                    };
                    self.ready.push_back(Ready::Event(accepted));
                } else {
                    break;
                }
            }
        }
    }
}
