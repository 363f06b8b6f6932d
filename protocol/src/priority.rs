//! The four urgency classes.
//!
//! Invariant: a channel has exactly one class, from its namespace; the class orders channels
//! and never events within one.
//! Runs on: any thread; plain values.

use interlink_wire as wire;

/// Urgency class; lower is more urgent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Priority {
    /// Critical: authentication, security alerts. Never dropped.
    P0 = 0,
    /// High: chat, live updates.
    P1 = 1,
    /// Normal: notifications, status.
    P2 = 2,
    /// Background: reports, analytics.
    P3 = 3,
}

impl Priority {
    /// Number of classes.
    pub const COUNT: usize = 4;
    /// Every class, most urgent first.
    pub const ALL: [Self; Self::COUNT] = [Self::P0, Self::P1, Self::P2, Self::P3];

    /// Index into a table of [`Priority::COUNT`] entries.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The class of an index; `None` from [`Priority::COUNT`] on.
    pub const fn from_index(index: usize) -> Option<Self> {
        if index < Self::COUNT {
            Some(Self::ALL[index])
        } else {
            None
        }
    }

    /// Short name for metrics and logs.
    pub const fn name(self) -> &'static str {
        ["p0", "p1", "p2", "p3"][self as usize]
    }
}

impl From<Priority> for wire::Priority {
    fn from(priority: Priority) -> Self {
        Self(priority as u8)
    }
}

impl From<wire::Priority> for Priority {
    /// A value of a later protocol version counts as the least urgent class, so that it can
    /// never take the room of the known ones.
    fn from(priority: wire::Priority) -> Self {
        Self::from_index(usize::from(priority.0)).unwrap_or(Self::P3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_survives_the_wire() {
        for priority in Priority::ALL {
            assert_eq!(Priority::from(wire::Priority::from(priority)), priority);
            assert_eq!(Priority::from_index(priority.index()), Some(priority));
        }
        assert_eq!(wire::Priority::ENUM_MAX as usize + 1, Priority::COUNT);
    }

    #[test]
    fn an_unknown_class_takes_nobody_elses_room() {
        assert_eq!(Priority::from(wire::Priority(9)), Priority::P3);
    }
}
