//! `Sender`: what a thread has for the others.
//!
//! Invariants: a push to a full ring gives the entry back and changes nothing; the number of
//! outstanding reservations never exceeds the room that replies have, so that a reply fits.
//!
//! How replies have room: half of each ring is closed to ordinary pushes. Before a thread asks
//! another, it reserves a place for the reply in the ring that leads back to it, and releases
//! it when it has taken the reply. The asker is the only taker of that ring, so a plain counter
//! of its own bounds the replies in it.
//!
//! Runs on: the thread that owns it.

use super::doorbell::Doorbell;
use super::ring::Rings;
use interlink_protocol::priority::Priority;
use std::sync::Arc;

/// What a sender did; plain numbers for the scraper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SenderCounters {
    /// Entries pushed, by priority.
    pub pushed: [u64; Priority::COUNT],
    /// Pushes refused because the ring was full, by priority.
    pub full: [u64; Priority::COUNT],
    /// Bells rung: once for each other thread and turn with something for it.
    pub rings: u64,
    /// Reservations refused because too many replies were outstanding, by priority.
    pub no_reply_room: [u64; Priority::COUNT],
}

/// A place kept for one reply. Keep it beside the pending question and release it when the
/// reply was taken.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation that is not released lowers the room for replies for good"]
pub struct Reservation {
    from: u8,
    priority: Priority,
}

/// The rings to another thread and its bell.
pub(super) type Outgoing<T> = (Arc<Rings<T>>, Arc<Doorbell>);

/// One other thread, as seen from this one.
struct Peer<T> {
    rings: Arc<Rings<T>>,
    bell: Arc<Doorbell>,
    /// Something was pushed since the bell was last rung.
    has_news: bool,
    /// Replies that this peer owes and that have room, by priority.
    owed: [usize; Priority::COUNT],
}

/// The pushing end of a thread towards all others.
pub struct Sender<T> {
    own: usize,
    peers: Vec<Option<Peer<T>>>,
    counters: SenderCounters,
}

impl<T> Sender<T> {
    /// The sender of thread `own`; `outgoing[i]` leads to thread `i`.
    pub(super) fn new(own: usize, outgoing: Vec<Option<Outgoing<T>>>) -> Self {
        let peer = |(rings, bell)| Peer {
            rings,
            bell,
            has_news: false,
            owed: [0; 4],
        };
        let peers = outgoing.into_iter().map(|lane| lane.map(peer)).collect();
        Self {
            own,
            peers,
            counters: SenderCounters::default(),
        }
    }

    /// Pushes an entry for thread `to`. The taker is woken by `flush`.
    ///
    /// # Errors
    /// The entry comes back when the ring is full: never wait for room, apply the rule of the
    /// record instead (catch up from the journal, mark a gap, refuse).
    ///
    /// # Panics
    /// When `to` is this thread or none.
    pub fn push(&mut self, to: usize, priority: Priority, entry: T) -> Result<(), T> {
        self.push_by(to, priority, entry, Rings::push)
    }

    /// Pushes the reply to a question of thread `to`, which reserved room for it under the
    /// same priority.
    ///
    /// # Errors
    /// The entry comes back when the ring is full, which a correct asker makes impossible.
    ///
    /// # Panics
    /// When `to` is this thread or none.
    pub fn push_reply(&mut self, to: usize, priority: Priority, entry: T) -> Result<(), T> {
        self.push_by(to, priority, entry, Rings::push_reply)
    }

    /// Keeps room for one reply of thread `from`, or `None` when as many replies as fit are
    /// outstanding: then do not ask now.
    ///
    /// # Panics
    /// When `from` is this thread or none.
    pub fn reserve(&mut self, from: usize, priority: Priority) -> Option<Reservation> {
        let index = priority.index();
        let peer = self.peer(from);
        if peer.owed[index] == peer.rings.reply_room(priority) {
            self.counters.no_reply_room[index] += 1;
            return None;
        }
        peer.owed[index] += 1;
        Some(Reservation {
            from: from as u8,
            priority,
        })
    }

    /// Frees the room of a reply that was taken, or of a question that was not asked.
    pub fn release(&mut self, reservation: Reservation) {
        let peer = self.peer(usize::from(reservation.from));
        peer.owed[reservation.priority.index()] -= 1;
    }

    /// Rings the bell of every thread that got something since the last flush. Call it once a
    /// turn, after all pushes.
    pub fn flush(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            if std::mem::take(&mut peer.has_news) {
                peer.bell.ring();
                self.counters.rings += 1;
            }
        }
    }

    /// The number of this thread.
    #[must_use]
    pub fn own(&self) -> usize {
        self.own
    }

    /// How many threads the lanes connect, this one included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.peers.len()
    }

    /// What was pushed and refused so far.
    #[must_use]
    pub fn counters(&self) -> &SenderCounters {
        &self.counters
    }

    fn push_by(
        &mut self,
        to: usize,
        priority: Priority,
        entry: T,
        push: fn(&Rings<T>, Priority, T) -> Result<(), T>,
    ) -> Result<(), T> {
        let peer = self.peer(to);
        match push(&peer.rings, priority, entry) {
            Ok(()) => {
                peer.has_news = true;
                self.counters.pushed[priority.index()] += 1;
                Ok(())
            }
            Err(entry) => {
                self.counters.full[priority.index()] += 1;
                Err(entry)
            }
        }
    }

    fn peer(&mut self, thread: usize) -> &mut Peer<T> {
        let own = self.own;
        let Some(Some(peer)) = self.peers.get_mut(thread) else {
            panic!("thread {own} has no lane to thread {thread}");
        };
        peer
    }
}
