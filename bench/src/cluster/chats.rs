//! Direct chats (P1) from each user to the next, who is on another node.
//!
//! Client number n connects to node n modulo the number of nodes, so that with two nodes or more
//! every event is published on one and delivered on another.
//!
//! Runs on: the bench's main thread, before the traffic.

use super::site::Site;
use crate::engine::payload::Payload;
use crate::engine::template::{FrameWriter, Template};
use crate::engine::token::Grants;
use crate::engine::{Fleet, Greeting};
use crate::scenarios::bench::Bench;
use crate::scenarios::groups::P1;
use crate::scenarios::settle::connect_all;
use crate::scenarios::traffic::{Route, Traffic};
use crate::scenarios::users::{UserMaker, Users};
use anyhow::{ensure, Result};
use interlink_uring::EdgeRing;

const UNFINISHED_MAX: u32 = 200;

/// Connected users with one source of events.
pub struct Chats {
    /// The users' connections.
    pub fleet: Fleet<EdgeRing>,
    /// Their traffic.
    pub traffic: Traffic,
    /// Number of the source.
    pub source: usize,
}

impl Chats {
    /// Connects users to all nodes of a site.
    pub fn connect(bench: &mut Bench, site: &Site, users: u32) -> Result<Self> {
        ensure!(users >= 2, "there must be at least 2 users");
        let mut maker = UserMaker::new(&site.signer, bench.options.seed);
        let mut all = Users::default();
        for user in 0..users {
            let before = (user + users - 1) % users;
            let made = maker.user(&format!("u{user}"), &Grants::member(&[]))?;
            all.push(made.subscribe(channel(before, users)));
        }
        let mut traffic = Traffic::new(all, bench.options.seed);
        let payload = Payload::new("chat", bench.options.payload)?;
        let mut writer = FrameWriter::new(bench.options.seed);
        let routes: Result<Vec<Route>> = (0..users)
            .map(|user| {
                let channel = channel(user, users);
                let template = Template::publish(&mut writer.encoder, &channel, &payload)?;
                let receiver = (user + 1) % users;
                Ok(Route::new(user, template, P1, receiver..receiver + 1))
            })
            .collect();
        let source = traffic.add_source(routes?);
        let targets = site.listens();
        let greeting = Greeting::Session;
        let mut fleet = bench.fleet_over(None, &targets, greeting, users, UNFINISHED_MAX)?;
        connect_all(bench, &mut fleet, &mut traffic)?;
        Ok(Self {
            fleet,
            traffic,
            source,
        })
    }
}

/// The chat that a user writes to.
fn channel(user: u32, users: u32) -> String {
    format!("chat.u{user}~u{}", (user + 1) % users)
}
