//! Direct chats between users of two regions, and what became of each event in either.
//!
//! Users come in pairs, one in each region; both write to their chat and both read it. So every
//! event has one delivery at home and one abroad. Clients are those of the generator, which know
//! no ids and suppress nothing.
//!
//! Runs on: the generator's thread.

use super::site::Site;
use crate::engine::payload::Payload;
use crate::engine::peek;
use crate::engine::stamp::Stamp;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::tracker::{Totals, Tracker};
use crate::engine::{EndCause, Fleet, Greeting, Link, Workload};
use crate::measure::Latency;
use crate::scenarios::bench::Bench;
use crate::scenarios::groups::P1;
use crate::scenarios::settle::{connect_all, Counted, Ends};
use crate::scenarios::traffic::{Route, Traffic};
use crate::scenarios::users::{UserMaker, Users};
use anyhow::{ensure, Result};
use interlink_uring::EdgeRing;
use interlink_wire as wire;

const UNFINISHED_MAX: u32 = 200;

/// The traffic between two regions.
pub struct Crossing {
    /// Publishes and answers.
    pub traffic: Traffic,
    /// Number of the source of events.
    pub source: usize,
    /// From the publish to the delivery in the other region.
    pub latency: Latency,
    home: Tracker,
    abroad: Tracker,
    stamp_hint: usize,
}

impl Crossing {
    /// Connects users in pairs, one to each region.
    pub fn connect(
        bench: &mut Bench,
        regions: [&Site; 2],
        users: u32,
    ) -> Result<(Self, Fleet<EdgeRing>)> {
        ensure!(
            users >= 2 && users.is_multiple_of(2),
            "--users must be even"
        );
        let [mut one, mut other] =
            regions.map(|site| UserMaker::new(&site.signer, bench.options.seed));
        let mut all = Users::default();
        for user in 0..users {
            let maker = if user % 2 == 0 { &mut one } else { &mut other };
            let made = maker.user(&format!("u{user}"), &Grants::member(&[]))?;
            all.push(made.subscribe(channel(user)));
        }
        let mut traffic = Traffic::new(all, bench.options.seed);
        let payload = Payload::new("chat", bench.options.payload)?;
        let mut writer = FrameWriter::new(bench.options.seed);
        let routes: Result<Vec<Route>> = (0..users)
            .map(|user| {
                let template = Template::publish(&mut writer.encoder, &channel(user), &payload)?;
                let first = user - user % 2;
                Ok(Route::new(user, template, P1, first..first + 2))
            })
            .collect();
        let source = traffic.add_source(routes?);
        // Client number n connects to target n modulo their number: even ones to one region.
        let [one, other] = regions.map(Site::listens);
        let targets = one.into_iter().zip(other).flat_map(|pair| [pair.0, pair.1]);
        let targets: Vec<_> = targets.collect();
        let greeting = Greeting::Session;
        let mut fleet = bench.fleet_over(None, &targets, greeting, users, UNFINISHED_MAX)?;
        let mut crossing = Self::new(traffic, source, users as usize);
        connect_all(bench, &mut fleet, &mut crossing)?;
        Ok((crossing, fleet))
    }

    fn new(traffic: Traffic, source: usize, users: usize) -> Self {
        Self {
            traffic,
            source,
            latency: Latency::new(),
            home: Tracker::new(users),
            abroad: Tracker::new(users),
            stamp_hint: 0,
        }
    }

    /// Events that were accepted since the start.
    pub fn accepted(&self) -> u64 {
        // Each is expected by two.
        self.traffic.classes[P1].expected_in_all / 2
    }

    /// Deliveries in the region of the publisher.
    pub fn home(&self) -> Totals {
        self.home.totals()
    }

    /// Deliveries in the other region.
    pub fn abroad(&self) -> Totals {
        self.abroad.totals()
    }

    /// Notes an event that came to a client.
    fn note(&mut self, client: u32, stamp: &Stamp, now_ns: u64) {
        let sender = stamp.sender as usize;
        if sender % 2 == client as usize % 2 {
            self.home.note(sender, stamp.sequence);
        } else if self.abroad.note(sender, stamp.sequence) {
            self.latency.record_from(stamp.scheduled_ns, now_ns);
        }
    }
}

impl Workload for Crossing {
    fn on_turn(&mut self, link: &mut Link) -> u64 {
        self.traffic.on_turn(link)
    }

    fn hello(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        self.traffic.hello(client, writer, out);
    }

    fn subscribe(&mut self, client: u32, writer: &mut FrameWriter, out: &mut Vec<u8>) {
        self.traffic.subscribe(client, writer, out);
    }

    fn on_frame(&mut self, link: &mut Link, client: u32, kind: wire::Body, frame: &[u8]) {
        if kind == wire::Body::Event {
            let payload = peek::body(frame);
            let payload = payload.and_then(|(_, body)| body.bytes(wire::Event::VT_PAYLOAD));
            let stamp = payload.and_then(|bytes| Stamp::find(bytes, &mut self.stamp_hint));
            if let Some(stamp) = stamp {
                self.note(client, &stamp, link.now_ns);
            }
        }
        self.traffic.on_frame(link, client, kind, frame);
    }

    fn on_end(&mut self, link: &mut Link, client: u32, cause: EndCause) {
        self.traffic.on_end(link, client, cause);
    }
}

impl Counted for Crossing {
    fn ends(&self) -> &Ends {
        self.traffic.ends()
    }
}

/// The chat of a user and the other one of the pair.
fn channel(user: u32) -> String {
    let first = user - user % 2;
    format!("chat.u{first}~u{}", first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_to_its_region_is_told_from_what_comes_twice_to_the_other() {
        let traffic = Traffic::new(Users::default(), 1);
        let mut crossing = Crossing::new(traffic, 0, 4);
        let stamp = |sequence| Stamp {
            sender: 2,
            sequence,
            scheduled_ns: 5,
        };
        // User 2 writes to its chat with user 3, who is abroad.
        for (client, sequence) in [(2, 1), (3, 1), (2, 1), (3, 2), (3, 2), (3, 4), (3, 3)] {
            crossing.note(client, &stamp(sequence), 10);
        }
        let (home, abroad) = (crossing.home(), crossing.abroad());
        assert_eq!((home.delivered, home.duplicated), (1, 1));
        assert_eq!((abroad.delivered, abroad.duplicated), (4, 1));
        assert_eq!((home.reordered, abroad.reordered), (0, 1));
        assert_eq!(crossing.latency.count(), 4);
        assert_eq!(channel(3), "chat.u2~u3");
    }
}
