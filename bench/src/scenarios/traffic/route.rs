//! Routes and sources.
//!
//! Runs on: the generator's thread.

use crate::engine::schedule::Schedule;
use crate::engine::template::Template;
use std::ops::Range;

/// One publisher on one channel.
pub struct Route {
    /// The publishing client.
    pub publisher: u32,
    /// The publish.
    pub template: Template,
    /// Class of the channel, 0 to 3.
    pub class: usize,
    /// Clients that subscribe to the channel.
    pub receivers: Range<u32>,
    /// First of the route's streams in the tracker; set when the route is added.
    pub(super) streams_from: usize,
    /// Number of the last event.
    pub(super) sequence: u64,
    /// Publishes that were accepted, since the start.
    pub accepted: u64,
}

impl Route {
    /// A route that has not published yet.
    pub fn new(publisher: u32, template: Template, class: usize, receivers: Range<u32>) -> Self {
        Self {
            publisher,
            template,
            class,
            receivers,
            streams_from: 0,
            sequence: 0,
            accepted: 0,
        }
    }

    /// The stream of a receiver in the tracker.
    pub(super) fn stream(&self, client: u32) -> Option<usize> {
        let is_receiver = self.receivers.contains(&client);
        is_receiver.then(|| self.streams_from + (client - self.receivers.start) as usize)
    }
}

/// When events are offered.
pub(super) enum Pace {
    /// On a schedule, each on a route chosen at random.
    Open(Schedule),
    /// As soon as an answer leaves room; each answer causes one offer on its route.
    Window,
    /// As soon as an earlier one is settled; each settled publish causes one offer on the route of
    /// its client.
    Settled,
    /// Not now.
    Paused,
}

/// Offers events on some of the routes.
pub struct Source {
    pub(super) routes: Range<u32>,
    pub(super) pace: Pace,
}

impl Source {
    /// A source of these routes that offers nothing yet.
    pub fn new(routes: Range<u32>) -> Self {
        Self {
            routes,
            pace: Pace::Paused,
        }
    }
}
