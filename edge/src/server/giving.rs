//! How a serving node comes to its end, as a table.
//!
//! Purpose: decides in which order intake ends, what is accepted is settled, the journal is
//! given to a successor, and clients are sent away. The main thread says what happened and
//! carries the actions out.
//!
//! Invariants: the journal is given up only when everything is settled; before that a successor
//! that is gone or late leaves a node that serves, and after that it never serves again; clients
//! are sent away only when somebody takes them, or the time for that is over; an event that the
//! state does not know changes nothing.
//!
//! Runs on: the main thread; no I/O, no clock.

use interlink_protocol::transitions;

transitions! {
    /// Where a serving node is on its way to the end.
    pub states Giving {
        /// It serves.
        Serving,
        /// It serves, and a successor has its sockets and prepares.
        Offering,
        /// New work is refused for now; what was accepted is being settled for a successor.
        Yielding,
        /// The successor has the journal and starts.
        Released,
        /// New work is refused for now; what was accepted is being settled for the end.
        Settling,
        /// Clients are sent away.
        Leaving,
    }
    /// What happens on the way.
    events Happening {
        /// A signal or a request asks for the end.
        Asked,
        /// A successor wants to take over.
        Called,
        /// The successor waits for the journal.
        Prepared,
        /// Everything that was accepted is settled.
        Settled,
        /// The successor accepts clients.
        Ready,
        /// The successor is gone.
        Lost,
        /// The time for what the state waits for is over.
        Overdue,
        /// A part of the node has ended by itself.
        Broken,
    }
    Asked(Serving | Offering => Settling);
    Called(Serving => Offering);
    Prepared(Offering => Yielding);
    Settled(Yielding => Released);
    Settled(Settling => Leaving);
    Ready(Released => Leaving);
    Lost(Offering | Yielding => Serving);
    Lost(Released => Leaving);
    Overdue(Offering | Yielding => Serving);
    Overdue(Settling | Released => Leaving);
    Broken(Serving | Offering | Yielding | Released | Settling => Leaving);
}

/// What the main thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give the successor the listening sockets.
    Offer,
    /// Refuse new clients and publishes.
    EndIntake,
    /// Take clients and publishes again.
    BeginIntake,
    /// Give up the journal and tell the successor.
    Release,
    /// Let the successor know that it gets nothing.
    Dismiss,
    /// Send the clients away and end the shards.
    SendAway,
}

impl Giving {
    /// Takes what happened, and says what is to be done; nothing for what the state does not
    /// know.
    pub fn on(&mut self, happening: Happening) -> &'static [Action] {
        use Action::{BeginIntake, Dismiss, EndIntake, Offer, Release, SendAway};
        let before = *self;
        let Ok(after) = self.apply(happening) else {
            return &[];
        };
        match (before, after) {
            (Self::Offering, Self::Serving) => &[Dismiss],
            (_, Self::Serving) => &[Dismiss, BeginIntake],
            (_, Self::Offering) => &[Offer],
            (_, Self::Yielding) => &[EndIntake],
            (_, Self::Released) => &[Release],
            (Self::Offering, Self::Settling) => &[Dismiss, EndIntake],
            (_, Self::Settling) => &[EndIntake],
            (Self::Offering | Self::Yielding, Self::Leaving) => &[Dismiss, SendAway],
            (_, Self::Leaving) => &[SendAway],
        }
    }
}
