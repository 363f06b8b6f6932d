//! State machines as tables.
//!
//! Purpose: a machine of this crate is a list of rows `event(from | from => to)`. What no row
//! names is illegal, and an illegal event is a value that changes nothing, never a panic: a peer
//! may send anything at any time. Effects stand beside the table, in functions that ask it.
//!
//! [`render`] writes a whole table, every state by every event, as text. A test compares it with
//! a committed file, so that a change to a machine shows in review as the cells that changed.
//! Runs on: any thread; states are one byte.

use std::fmt;

/// A machine whose states and events can be walked through.
pub trait Machine: Copy + fmt::Debug + 'static {
    /// What can happen to it.
    type Event: Copy + fmt::Debug + 'static;
    /// Every state; the first one is where it starts.
    const STATES: &'static [Self];
    /// Every event.
    const EVENTS: &'static [Self::Event];
    /// The state after an event; `None` when the event is illegal here.
    fn after(self, event: Self::Event) -> Option<Self>;
}

/// An event that the state does not allow; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Illegal<S, E> {
    /// The state at the time.
    pub state: S,
    /// The event.
    pub event: E,
}

impl<S: fmt::Debug, E: fmt::Debug> fmt::Display for Illegal<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not allowed in {:?}; the sender is out of step",
            self.event, self.state
        )
    }
}

impl<S: fmt::Debug, E: fmt::Debug> std::error::Error for Illegal<S, E> {}

/// Declares a machine: its states, its events and its rows.
///
/// ```
/// interlink_protocol::transitions! {
///     /// A door.
///     pub states Door {
///         /// Nobody can pass.
///         Shut,
///         /// Everybody can pass.
///         Open,
///     }
///     /// What is done to a door.
///     events Push {
///         /// It is opened.
///         Opened,
///         /// It is shut.
///         Closed,
///     }
///     Opened(Shut => Open);
///     Closed(Open => Shut);
/// }
/// let mut door = Door::default();
/// assert!(door.apply(Push::Closed).is_err());
/// assert_eq!(door.apply(Push::Opened), Ok(Door::Open));
/// ```
#[macro_export]
macro_rules! transitions {
    (
        $(#[$about_state:meta])*
        $vis:vis states $State:ident { $($(#[$state_text:meta])* $state:ident),+ $(,)? }
        $(#[$about_event:meta])*
        events $Event:ident { $($(#[$event_text:meta])* $event:ident),+ $(,)? }
        $($on:ident($($from:ident)|+ => $to:ident);)+
    ) => {
        $(#[$about_state])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        $vis enum $State { $($(#[$state_text])* $state),+ }

        $(#[$about_event])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        $vis enum $Event { $($(#[$event_text])* $event),+ }

        impl $State {
            /// Every state; the first one is where the machine starts.
            pub const ALL: &'static [Self] = &[$(Self::$state),+];

            /// The state after an event; `None` when the event is illegal here.
            pub const fn after(self, event: $Event) -> Option<Self> {
                match (event, self) {
                    $($(($Event::$on, Self::$from))|+ => Some(Self::$to),)+
                    _ => None,
                }
            }

            /// Applies an event and tells the new state.
            ///
            /// # Errors
            /// The event, when it is illegal here; the state is unchanged then.
            pub fn apply(
                &mut self,
                event: $Event,
            ) -> Result<Self, $crate::session::machine::Illegal<Self, $Event>> {
                match self.after(event) {
                    Some(next) => {
                        *self = next;
                        Ok(next)
                    }
                    None => Err($crate::session::machine::Illegal { state: *self, event }),
                }
            }
        }

        impl Default for $State {
            fn default() -> Self {
                Self::ALL[0]
            }
        }

        impl $crate::session::machine::Machine for $State {
            type Event = $Event;
            const STATES: &'static [Self] = Self::ALL;
            const EVENTS: &'static [$Event] = &[$($Event::$event),+];

            fn after(self, event: $Event) -> Option<Self> {
                $State::after(self, event)
            }
        }

        const _: () = assert!(size_of::<$State>() == 1, "a state is one byte");
    };
}

/// Writes the table of a machine: one line for each state and event.
pub fn render<M: Machine>() -> String {
    let mut text = String::new();
    for state in M::STATES {
        for event in M::EVENTS {
            let after = match state.after(*event) {
                Some(next) => format!("{next:?}"),
                None => "illegal".into(),
            };
            text.push_str(&format!("{state:?} {event:?} => {after}\n"));
        }
    }
    text
}

/// States that no sequence of events reaches from the first one.
pub fn unreachable<M: Machine + PartialEq>() -> Vec<M> {
    let mut reached = vec![M::STATES[0]];
    let mut next = 0;
    while let Some(state) = reached.get(next).copied() {
        next += 1;
        for event in M::EVENTS {
            match state.after(*event) {
                Some(after) if !reached.contains(&after) => reached.push(after),
                _ => {}
            }
        }
    }
    M::STATES
        .iter()
        .copied()
        .filter(|state| !reached.contains(state))
        .collect()
}
