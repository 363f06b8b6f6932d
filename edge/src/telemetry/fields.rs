//! The kinds of counters: single numbers, and small tables by a closed set of labels.
//!
//! Every field is a fixed number of slots, so that a shard copies all of its counters
//! with plain stores and allocates nothing.
//!
//! Runs on: the shard that owns the values; labels are read by the control thread.

use interlink_protocol::priority::Priority;
use interlink_protocol::session::outbox::Overrun;
use interlink_protocol::{CloseCode, ErrorCode};

use crate::anomaly::Anomaly;

/// One label of a sample; none for a single number.
pub type Label = Option<(&'static str, &'static str)>;

/// A field of [`Counters`](super::Counters).
pub trait Field {
    /// How many numbers the field has.
    const SLOTS: usize;
    /// Hands out the numbers in the order of [`Field::label`].
    fn copy(&self, sink: &mut impl FnMut(u64));
    /// The label of a slot.
    fn label(slot: usize) -> Label;
    /// A further label of a slot.
    fn second_label(_slot: usize) -> Label {
        None
    }
    /// Names of the labels of all samples, the shard's first.
    const LABELS: &'static [&'static str];
}

impl Field for u64 {
    const SLOTS: usize = 1;
    const LABELS: &'static [&'static str] = &["shard"];

    #[inline]
    fn copy(&self, sink: &mut impl FnMut(u64)) {
        sink(*self);
    }

    fn label(_slot: usize) -> Label {
        None
    }
}

/// A number for each priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByClass([u64; Priority::COUNT]);

impl ByClass {
    /// Adds to the number of a class.
    #[inline]
    pub fn add(&mut self, class: Priority, count: u64) {
        self.0[class.index()] += count;
    }

    /// Replaces the number of a class.
    #[inline]
    pub fn set(&mut self, class: Priority, value: u64) {
        self.0[class.index()] = value;
    }

    /// The number of a class.
    pub fn get(&self, class: Priority) -> u64 {
        self.0[class.index()]
    }
}

impl Field for ByClass {
    const SLOTS: usize = Priority::COUNT;
    const LABELS: &'static [&'static str] = &["shard", "class"];

    #[inline]
    fn copy(&self, sink: &mut impl FnMut(u64)) {
        self.0.iter().for_each(|value| sink(*value));
    }

    fn label(slot: usize) -> Label {
        Some(("class", Priority::ALL[slot].name()))
    }
}

/// A number for each outcome of an overrun, in each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByOverrun([[u64; Overrun::ALL.len()]; Priority::COUNT]);

impl ByOverrun {
    /// Adds one to the number of an outcome in a class.
    pub fn add(&mut self, class: Priority, outcome: Overrun) {
        self.0[class.index()][outcome as usize] += 1;
    }
}

impl Field for ByOverrun {
    const SLOTS: usize = Priority::COUNT * Overrun::ALL.len();
    const LABELS: &'static [&'static str] = &["shard", "class", "outcome"];

    #[inline]
    fn copy(&self, sink: &mut impl FnMut(u64)) {
        self.0.as_flattened().iter().for_each(|value| sink(*value));
    }

    fn label(slot: usize) -> Label {
        let class = Priority::ALL[slot / Overrun::ALL.len()];
        Some(("class", class.name()))
    }

    fn second_label(slot: usize) -> Label {
        let outcome = Overrun::ALL[slot % Overrun::ALL.len()];
        Some(("outcome", outcome.name()))
    }
}

/// A number for each kind of anomaly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByAnomaly([u64; Anomaly::ALL.len()]);

impl ByAnomaly {
    /// Adds one to the number of a kind.
    pub fn add(&mut self, anomaly: Anomaly) {
        self.0[anomaly as usize] += 1;
    }
}

impl Field for ByAnomaly {
    const SLOTS: usize = Anomaly::ALL.len();
    const LABELS: &'static [&'static str] = &["shard", "kind"];

    #[inline]
    fn copy(&self, sink: &mut impl FnMut(u64)) {
        self.0.iter().for_each(|value| sink(*value));
    }

    fn label(slot: usize) -> Label {
        Some(("kind", Anomaly::ALL[slot].name()))
    }
}

macro_rules! by_code {
    ($(#[$doc:meta])* $name:ident, $code:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name([u64; $code::ALL.len()]);

        impl $name {
            /// Adds one to the number of a code. Refusals and closes are rare enough for
            /// a search through a few dozen codes.
            pub fn add(&mut self, code: $code) {
                if let Some(slot) = $code::ALL.iter().position(|known| *known == code) {
                    self.0[slot] += 1;
                }
            }

            /// The number of a code.
            pub fn get(&self, code: $code) -> u64 {
                let slot = $code::ALL.iter().position(|known| *known == code);
                slot.map_or(0, |slot| self.0[slot])
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self([0; $code::ALL.len()])
            }
        }

        impl Field for $name {
            const SLOTS: usize = $code::ALL.len();
            const LABELS: &'static [&'static str] = &["shard", "code"];

            #[inline]
            fn copy(&self, sink: &mut impl FnMut(u64)) {
                self.0.iter().for_each(|value| sink(*value));
            }

            fn label(slot: usize) -> Label {
                Some(("code", $code::ALL[slot].name()))
            }
        }
    };
}

by_code!(
    /// A number for each error code.
    ByErrorCode,
    ErrorCode
);
by_code!(
    /// A number for each close code.
    ByCloseCode,
    CloseCode
);
