//! Entries that found a lane full and may not be lost.
//!
//! They wait here, in order, and everything later for the same thread behind them. Who sends
//! bounds what it has under way, or looks at [`Overflow::len`] and takes no more in.
//!
//! Thread: the sending one.

use std::collections::VecDeque;

use interlink_protocol::priority::Priority;

use super::sender::Sender;

/// What waits for room, by receiving thread.
#[derive(Debug)]
pub struct Overflow<T> {
    waiting: Vec<VecDeque<(Priority, T)>>,
}

impl<T> Overflow<T> {
    /// Nothing waits for any of `threads` threads.
    pub fn new(threads: usize) -> Self {
        Self {
            waiting: (0..threads).map(|_| VecDeque::new()).collect(),
        }
    }

    /// Whether something waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// Entries that wait.
    pub fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Sends in order; what finds the lane full follows as soon as there is room.
    pub fn send(&mut self, sender: &mut Sender<T>, to: u16, priority: Priority, entry: T) {
        let queue = &mut self.waiting[usize::from(to)];
        if !queue.is_empty() {
            queue.push_back((priority, entry));
            return;
        }
        if let Err(entry) = sender.push(usize::from(to), priority, entry) {
            queue.push_back((priority, entry));
        }
    }

    /// Sends what has room by now.
    pub fn flush(&mut self, sender: &mut Sender<T>) {
        for (to, queue) in self.waiting.iter_mut().enumerate() {
            while let Some((priority, entry)) = queue.pop_front() {
                if let Err(entry) = sender.push(to, priority, entry) {
                    queue.push_front((priority, entry));
                    break;
                }
            }
        }
    }
}
