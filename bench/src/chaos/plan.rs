//! Who publishes what to whom in a chaos run.
//!
//! Each user publishes a direct chat to the next user (P1) and a usage sample that the next user,
//! a teacher, reads (P3); back ends publish alerts to each user (P0). User number n begins at node
//! n modulo the number of nodes, so that every chat crosses from one node to another. Every eighth
//! user has a second device, which begins at the node after and reads the same.
//!
//! Runs on: the bench's main thread, before the traffic.

use crate::engine::token::{Grants, Signer};
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;

/// Shares of P0, P1, P2 and P3: nothing of P2, which promises no delivery.
pub const SHARES: [f64; 4] = [0.10, 0.60, 0.0, 0.30];
/// Back ends. Each has the credit of one session for P0, 8 unanswered publishes by default.
pub const SERVICES: usize = 8;
const INSTITUTION: &str = "1";
/// One user of so many has a second device.
const USERS_PER_DEVICE: usize = 8;

/// One publisher on one channel.
#[derive(Clone, Debug)]
pub struct Route {
    /// Number of the channel.
    pub channel: usize,
    /// Class of the channel.
    pub class: usize,
    /// Publishes a second.
    pub rate: f64,
}

/// A client.
#[derive(Clone, Debug)]
pub struct Member {
    /// The user's name, and the client's in the history.
    pub name: Arc<str>,
    /// The user's token.
    pub token: String,
    /// Nodes in the order in which it tries them.
    pub addresses: Vec<String>,
    /// Numbers of the channels that it subscribes to.
    pub subscribes: Vec<usize>,
    /// What it publishes.
    pub routes: Vec<Route>,
}

/// Clients and channels.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// All clients.
    pub members: Vec<Member>,
    /// Full channel names by number.
    pub channels: Vec<Arc<str>>,
}

impl Plan {
    /// `users` users and the back ends, with `rate` publishes a second in all.
    pub fn new(signer: &Signer, nodes: &[SocketAddr], users: usize, rate: f64) -> Result<Self> {
        let mut plan = Self::default();
        let per_user = |class: usize| rate * SHARES[class] / users as f64;
        let mut services: Vec<Vec<Route>> = vec![Vec::new(); SERVICES];
        for user in 0..users {
            let (next, before) = ((user + 1) % users, (user + users - 1) % users);
            let alert = plan.channel(format!("alert.u{user}"));
            let chat = plan.channel(format!("chat.u{user}~u{next}"));
            let usage = plan.channel(format!("usage.{INSTITUTION}.u{user}"));
            services[user % SERVICES].push(Route {
                channel: alert,
                class: 0,
                rate: per_user(0),
            });
            // Channels come in threes; those of the user before are read.
            let subscribes = vec![alert, before * 3 + 1, before * 3 + 2];
            let routes = [(chat, 1), (usage, 3)].map(|(channel, class)| Route {
                channel,
                class,
                rate: per_user(class),
            });
            let name = format!("u{user}");
            let member = Member {
                token: signer.user(&name, &Grants::member(&["teacher"]))?,
                name: name.as_str().into(),
                addresses: rotated(nodes, user),
                subscribes,
                routes: routes.into(),
            };
            if user % USERS_PER_DEVICE == 0 {
                plan.members.push(Member {
                    name: format!("{name}-second").into(),
                    addresses: rotated(nodes, user + 1),
                    routes: Vec::new(),
                    ..member.clone()
                });
            }
            plan.members.push(member);
        }
        for (number, routes) in services.into_iter().enumerate() {
            let name = format!("s{number}");
            plan.members.push(Member {
                token: signer.user(&name, &Grants::member(&["service"]))?,
                name: name.into(),
                addresses: rotated(nodes, number),
                subscribes: Vec::new(),
                routes,
            });
        }
        Ok(plan)
    }

    /// By channel: its subscribers.
    pub fn subscribers(&self) -> Vec<u8> {
        let mut subscribers = vec![0; self.channels.len()];
        for &channel in self.members.iter().flat_map(|member| &member.subscribes) {
            subscribers[channel] += 1;
        }
        subscribers
    }

    fn channel(&mut self, name: String) -> usize {
        self.channels.push(name.into());
        self.channels.len() - 1
    }
}

/// All addresses, beginning with number `first`.
fn rotated(nodes: &[SocketAddr], first: usize) -> Vec<String> {
    let order = nodes.iter().cycle().skip(first % nodes.len());
    order
        .take(nodes.len())
        .map(|address| format!("ws://{address}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::signing_key::SigningKey;
    use std::collections::BTreeMap;

    #[test]
    fn every_channel_has_one_publisher_and_a_subscriber_on_another_node() {
        let key = SigningKey::make("test").unwrap();
        let signer = key.signer("interlink").unwrap();
        let nodes = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let plan = Plan::new(&signer, &nodes, 6, 600.0).unwrap();
        let mut publishers = BTreeMap::new();
        let mut rate = 0.0;
        for member in &plan.members {
            for route in &member.routes {
                assert!(publishers.insert(route.channel, member).is_none());
                rate += route.rate;
            }
        }
        assert_eq!(publishers.len(), plan.channels.len());
        assert!((rate - 600.0).abs() < 1e-6);
        let devices = plan
            .members
            .iter()
            .filter(|member| member.name.ends_with("second"));
        assert_eq!(devices.count(), 1);
        assert_eq!(plan.subscribers()[..4], [2, 1, 1, 1]);
        let mut subscribed = 0;
        let first = |member: &&Member| !member.name.ends_with("second");
        for member in plan.members.iter().filter(first) {
            for channel in &member.subscribes {
                subscribed += 1;
                let name = &plan.channels[*channel];
                let publisher = publishers[channel];
                if name.starts_with("alert") {
                    assert_eq!(**name, format!("alert.{}", member.name));
                } else {
                    assert_ne!(publisher.addresses[0], member.addresses[0], "{name}");
                }
            }
        }
        assert_eq!(subscribed, plan.channels.len());
    }
}
