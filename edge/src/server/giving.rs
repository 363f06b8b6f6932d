//! How a serving node comes to its end, as a table.
//!
//! Purpose: decides in which order intake ends, what is accepted is settled, and clients are
//! sent away. The main thread says what happened and carries the actions out.
//!
//! Invariants: clients are sent away only when everything is settled or the time for that is
//! over; an event that the state does not know changes nothing.
//!
//! Runs on: the main thread; no I/O, no clock.

use interlink_protocol::transitions;

transitions! {
    /// Where a serving node is on its way to the end.
    pub states Giving {
        /// It serves.
        Serving,
        /// New work is refused for now; what was accepted is being settled.
        Settling,
        /// Clients are sent away.
        Leaving,
    }
    /// What happens on the way.
    events Happening {
        /// A signal or a request asks for the end.
        Asked,
        /// Everything that was accepted is settled.
        Settled,
        /// The time for what the state waits for is over.
        Overdue,
        /// A part of the node has ended by itself.
        Broken,
    }
    Asked(Serving => Settling);
    Settled(Settling => Leaving);
    Overdue(Settling => Leaving);
    Broken(Serving | Settling => Leaving);
}

/// What the main thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Refuse new clients and publishes.
    EndIntake,
    /// Send the clients away and end the shards.
    SendAway,
}

impl Giving {
    /// Takes what happened, and says what is to be done; nothing for what the state does not
    /// know.
    pub fn on(&mut self, happening: Happening) -> &'static [Action] {
        match self.apply(happening) {
            Ok(Self::Settling) => &[Action::EndIntake],
            Ok(Self::Leaving) => &[Action::SendAway],
            Ok(Self::Serving) | Err(_) => &[],
        }
    }
}
