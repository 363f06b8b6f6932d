//! How often clients may ask: by connection, user, institution and address.
//!
//! Purpose: the rates that follow from the configuration, and the numbers that shards share.
//!
//! - A **connection** and a **user** live on one shard, so their numbers stand in its tables and
//!   cost a comparison. Back ends (role `service`) publish for everybody and have neither; their
//!   credit bounds them.
//! - An **institution** has users on every shard. Its number is shared, and a shard takes a
//!   batch from it at a time, of at most [`limits::BATCH_MAX`] requests, so that most messages
//!   touch nothing shared.
//! - An **address** counts only before authentication, since a whole school can sit behind one:
//!   each connection is taken at its accept, and given back when its `Hello` is accepted.
//!
//! Invariants: no lock; everything has a size from the start.
//! Runs on: any thread.

pub mod limits;
mod table;

use std::net::IpAddr;

use interlink_protocol::session::rate::{Exceeded, Rate};

use crate::config::Config;
pub use table::{RateKey, RateTable};

/// The rates of a node.
#[derive(Debug)]
pub struct Rates {
    /// Requests of a connection.
    pub connection: Rate,
    /// Requests of a user.
    pub user: Rate,
    institution: Rate,
    batch: u32,
    institutions: RateTable,
    address: Rate,
    addresses: RateTable,
}

impl Rates {
    /// The rates of a configuration; `seed` is secret.
    pub fn new(config: &Config, seed: u64) -> Self {
        let limits = &config.limits;
        let batch = limits.institution_rate / limits::BATCHES_PER_SECOND;
        Self {
            connection: Rate::new(limits.connection_rate, 1, limits.connection_burst),
            user: Rate::new(limits.user_rate, 1, limits.user_burst),
            institution: Rate::new(limits.institution_rate, 1, limits.institution_burst),
            batch: batch
                .min(limits.institution_burst)
                .clamp(1, limits::BATCH_MAX),
            institutions: RateTable::new(limits::INSTITUTIONS, seed),
            address: Rate::new(limits.address_rate, 1, limits.address_burst),
            addresses: RateTable::new(limits::ADDRESSES, !seed),
        }
    }

    /// The key of an institution; `None` for the empty name, which has no rate.
    pub fn institution_key(&self, name: &str) -> Option<RateKey> {
        (!name.is_empty()).then(|| self.institutions.key(name.as_bytes()))
    }

    /// Counts a connection that an address has opened.
    ///
    /// # Errors
    /// When it comes too early.
    pub fn connect(&self, address: IpAddr, now_ns: u64) -> Result<(), Exceeded> {
        let key = self.addresses.key(&network_of(address));
        self.addresses.take(key, &self.address, now_ns, 1)
    }

    /// The connection has been authenticated and does not count any more.
    pub fn authenticated(&self, address: IpAddr) {
        let key = self.addresses.key(&network_of(address));
        self.addresses.refund(key, &self.address);
    }
}

/// What counts as one address: an IPv4 address, also when it is written as IPv6, and of IPv6 the
/// 64 bits that one site gets (RFC 6177), since a client can choose all others.
pub fn network_of(address: IpAddr) -> [u8; 8] {
    let mut network = [0; 8];
    match address.to_canonical() {
        // No IPv6 network of global addresses begins with zeros.
        IpAddr::V4(address) => network[4..].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => network.copy_from_slice(&address.octets()[..8]),
    }
    network
}

/// What a shard holds of the rates of institutions.
#[derive(Debug)]
pub struct Batches {
    held: Box<[(u64, u32)]>,
}

impl Default for Batches {
    fn default() -> Self {
        Self {
            held: vec![(0, 0); limits::BATCHES_HELD].into_boxed_slice(),
        }
    }
}

impl Batches {
    /// Takes one request of an institution.
    ///
    /// # Errors
    /// When it comes too early.
    pub fn take(&mut self, rates: &Rates, key: RateKey, now_ns: u64) -> Result<(), Exceeded> {
        if !rates.institution.is_bounded() {
            return Ok(());
        }
        // The lowest bit of a key is always set.
        let place = (key.0 >> 1) as usize % limits::BATCHES_HELD;
        let (holder, left) = &mut self.held[place];
        if *holder != key.0 || *left == 0 {
            let (rate, batch) = (&rates.institution, rates.batch);
            rates.institutions.take(key, rate, now_ns, batch)?;
            // What another institution has left here is lost to it: one part in 256 of a second.
            (*holder, *left) = (key.0, batch);
        }
        *left -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
