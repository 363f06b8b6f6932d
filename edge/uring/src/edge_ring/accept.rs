//! Accepting: single accepts, each with its own memory for the client's address.
//!
//! **Invariants.** An accept that ended well is always reported, so that no client is dropped, and
//! is not armed again unasked: clients that were reported and not looked at yet stay countable.
//! When the process or the system has no descriptor left, the listener rests until the caller
//! accepts again, because the same accept would fail again at once; clients wait in the backlog.
//!
//! **Limits.** [`ACCEPTS_ARMED_MAX`] accepts a listener; one address entry (40 bytes) for each.

use std::cell::UnsafeCell;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::{opcode, squeue, types};

use super::EdgeRing;
use crate::event::Event;
use crate::limits::ACCEPTS_ARMED_MAX;
use crate::operation::{Operation, Tag};

/// Memory that the kernel writes a client's address to. IPv6 addresses are the largest.
#[repr(C)]
struct Address {
    name: libc::sockaddr_in6,
    length: libc::socklen_t,
}

struct Entry {
    // Boxed, because the kernel keeps pointers to it while the accept is armed.
    address: Box<UnsafeCell<Address>>,
    listener: u8,
    armed: bool,
    cancelling: bool,
}

struct Listener {
    /// Absent once the caller has let go of it.
    descriptor: Option<OwnedFd>,
    wanted: usize,
    armed: usize,
}

/// The listeners and their accepts.
#[derive(Default)]
pub(super) struct Accepts {
    listeners: Vec<Listener>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

impl Accepts {
    pub(super) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    pub(super) fn add(&mut self, descriptor: OwnedFd) -> u8 {
        self.listeners.push(Listener {
            descriptor: Some(descriptor),
            wanted: 0,
            armed: 0,
        });
        (self.listeners.len() - 1) as u8
    }

    /// Nothing of the kernel's points at the address entries any more.
    pub(super) fn quiet(&self) -> bool {
        self.entries.iter().all(|entry| !entry.armed)
    }

    /// Stops arming; what is armed is cancelled elsewhere.
    pub(super) fn rest(&mut self) {
        for listener in &mut self.listeners {
            listener.wanted = 0;
        }
    }

    /// Leaves the address entries to the kernel for ever.
    pub(super) fn leak(&mut self) {
        mem::forget(mem::take(&mut self.entries));
    }

    fn take_entry(&mut self, listener: u8) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                // SAFETY: all fields are numbers, for which zero is a value.
                address: Box::new(UnsafeCell::new(unsafe { mem::zeroed() })),
                listener,
                armed: false,
                cancelling: false,
            });
            self.entries.len() as u32 - 1
        });
        let entry = &mut self.entries[index as usize];
        entry.listener = listener;
        entry.armed = true;
        entry.cancelling = false;
        entry.address.get_mut().length = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        index
    }

    /// The accept has ended; answers its listener and the address it left.
    fn give_entry(&mut self, index: u32) -> (u8, Option<SocketAddr>) {
        let entry = &mut self.entries[index as usize];
        let listener = entry.listener;
        entry.armed = false;
        let address = socket_address(entry.address.get_mut());
        self.free.push(index);
        self.listeners[usize::from(listener)].armed -= 1;
        (listener, address)
    }
}

impl EdgeRing {
    /// # Panics
    /// When the listener does not exist.
    pub(super) fn accept_up_to(&mut self, listener: u8, armed: usize) {
        let known = &mut self.accepts.listeners[usize::from(listener)];
        known.wanted = armed.min(ACCEPTS_ARMED_MAX);
        let surplus = known.armed.saturating_sub(known.wanted);
        self.cancel_accepts(listener, surplus);
        self.arm_accepts(listener);
    }

    /// The accepts that are armed hold the socket until each has ended.
    pub(super) fn let_go_of(&mut self, listener: u8) {
        self.accept_up_to(listener, 0);
        self.accepts.listeners[usize::from(listener)].descriptor = None;
    }

    fn arm_accepts(&mut self, listener: u8) {
        loop {
            let known = &mut self.accepts.listeners[usize::from(listener)];
            let Some(descriptor) = &known.descriptor else {
                return;
            };
            if known.armed >= known.wanted {
                return;
            }
            known.armed += 1;
            let descriptor = descriptor.as_raw_fd();
            let index = self.accepts.take_entry(listener);
            let address = self.accepts.entries[index as usize].address.get();
            self.push_accept(descriptor, address, index);
        }
    }

    fn push_accept(&mut self, descriptor: RawFd, address: *mut Address, index: u32) {
        // SAFETY: the pointer is to a live entry; only the addresses of its fields are taken.
        let (name, length) = unsafe { (&raw mut (*address).name, &raw mut (*address).length) };
        let entry = opcode::Accept::new(types::Fd(descriptor), name.cast(), length)
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(Tag::numbered(Operation::Accept, 0, index).bits());
        // SAFETY: the address entry is boxed and stays until the accept's completion was read;
        // at the end all accepts are cancelled before the entries are freed.
        unsafe { self.rings[0].push(&entry, &mut self.counters) };
    }

    /// Cancels up to `surplus` accepts of the listener that are not being cancelled yet.
    fn cancel_accepts(&mut self, listener: u8, surplus: usize) {
        let entries = self.accepts.entries.iter();
        let mut under_way = entries
            .filter(|e| e.armed && e.cancelling && e.listener == listener)
            .count();
        for index in 0..self.accepts.entries.len() {
            if under_way >= surplus {
                return;
            }
            let entry = &mut self.accepts.entries[index];
            if entry.armed && !entry.cancelling && entry.listener == listener {
                entry.cancelling = true;
                under_way += 1;
                self.push_cancel_accept(index as u32);
            }
        }
    }

    fn push_cancel_accept(&mut self, index: u32) {
        let target = Tag::numbered(Operation::Accept, 0, index).bits();
        let entry = opcode::AsyncCancel::new(target)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Tag::numbered(Operation::CancelAccept, 0, index).bits());
        // SAFETY: a cancel points at no memory.
        unsafe { self.rings[0].push(&entry, &mut self.counters) };
    }

    /// A cancel found nothing: it is repeated as long as the accept has not ended.
    pub(super) fn cancel_accept_failed(&mut self, index: u32) {
        let entry = self.accepts.entries.get(index as usize);
        if entry.is_some_and(|entry| entry.armed && entry.cancelling) {
            self.push_cancel_accept(index);
        }
    }

    pub(super) fn accepted(&mut self, index: u32, result: i32) -> Option<Event> {
        let (listener, address) = self.accepts.give_entry(index);
        if result >= 0 {
            // SAFETY: the kernel just made the descriptor for this accept and nobody else knows
            // it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(result) };
            let known = &mut self.accepts.listeners[usize::from(listener)];
            known.wanted = known.wanted.saturating_sub(1);
            let Some(peer) = address else {
                // A listener of another address family: its clients cannot be named.
                self.counters.accept_failures += 1;
                return Some(Event::AcceptFailed {
                    listener,
                    errno: libc::EAFNOSUPPORT,
                });
            };
            self.counters.accepted += 1;
            return Some(Event::Accepted {
                listener,
                descriptor,
                peer,
            });
        }
        let errno = -result;
        match errno {
            libc::ECANCELED => {
                // Taken back by the caller; wanted again meanwhile, it is armed again.
                self.arm_accepts(listener);
                return None;
            }
            // These would fail again at once. EINVAL and EBADF: the socket does not listen.
            libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EINVAL
            | libc::EBADF => self.accepts.listeners[usize::from(listener)].wanted = 0,
            _ => self.arm_accepts(listener),
        }
        self.counters.accept_failures += 1;
        Some(Event::AcceptFailed { listener, errno })
    }
}

fn socket_address(address: &Address) -> Option<SocketAddr> {
    match i32::from(address.name.sin6_family) {
        libc::AF_INET => {
            let start: *const libc::sockaddr_in6 = &address.name;
            // SAFETY: the family says that the kernel wrote an IPv4 address, which is smaller
            // than the IPv6 address that the memory is made for and no more aligned.
            let name = unsafe { start.cast::<libc::sockaddr_in>().read() };
            let host = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(host, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            let name = &address.name;
            let host = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            let flow = u32::from_be(name.sin6_flowinfo);
            Some(SocketAddrV6::new(host, port, flow, name.sin6_scope_id).into())
        }
        _ => None,
    }
}
