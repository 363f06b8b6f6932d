//! A value that is replaced as a whole while others read it.
//!
//! Purpose: keys and revocations change rarely and are read with every `Hello`. A reader
//! looks at a generation, one load of a number that stays in its cache, and takes the lock
//! only after a change; in the path of messages there is none.
//!
//! Invariant: a reader holds one whole value at a time, never a mixture.
//! Runs on: the control thread replaces, any thread reads.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The place where the present value stands.
#[derive(Debug)]
pub struct Published<T> {
    generation: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Published<T> {
    /// A place with a first value.
    pub fn new(value: T) -> Arc<Self> {
        Arc::new(Self {
            generation: AtomicU64::new(0),
            value: Mutex::new(Arc::new(value)),
        })
    }

    /// Replaces the value; readers see it when they look the next time.
    pub fn replace(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        // After the value: who sees the number finds the value or a later one.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// A reader that holds the present value.
    pub fn reader(self: &Arc<Self>) -> Reader<T> {
        let generation = self.generation.load(Ordering::Acquire);
        Reader {
            value: self.present(),
            place: Arc::clone(self),
            generation,
        }
    }

    fn present(&self) -> Arc<T> {
        Arc::clone(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One reader of a [`Published`] value; dereferences to the value that it holds.
#[derive(Debug)]
pub struct Reader<T> {
    place: Arc<Published<T>>,
    value: Arc<T>,
    generation: u64,
}

impl<T> Reader<T> {
    /// Takes the present value if it is another one; returns whether it is.
    pub fn update(&mut self) -> bool {
        let generation = self.place.generation.load(Ordering::Acquire);
        if generation == self.generation {
            return false;
        }
        self.generation = generation;
        self.value = self.place.present();
        true
    }
}

impl<T> Deref for Reader<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_its_value_until_it_looks_again() {
        let place = Published::new(1);
        let mut reader = place.reader();
        assert!(!reader.update());
        place.replace(2);
        assert_eq!(*reader, 1);
        assert!(reader.update());
        assert_eq!(*reader, 2);
        assert!(!reader.update());
        assert_eq!(*place.reader(), 2);
    }

    #[test]
    fn a_reader_on_another_thread_sees_values_in_their_order() {
        let place = Published::new(0);
        let mut reader = place.reader();
        let seen = std::thread::spawn(move || {
            let mut last = 0;
            while last < 1_000 {
                reader.update();
                assert!(*reader >= last, "{} after {last}", *reader);
                last = *reader;
            }
        });
        (1..=1_000).for_each(|value| place.replace(value));
        seen.join().expect("the values came in their order");
    }
}
