//! Clients that come and go, and the certificate that their handshakes get.
//!
//! Runs on: the generator's thread.

use crate::engine::Link;
use std::ops::Range;

/// Clients of which one after the other leaves and comes back.
#[derive(Debug)]
pub struct Joins {
    clients: Range<u32>,
    /// By client: when it last began to come.
    begun_ns: Vec<u64>,
    interval_ns: u64,
    next_ns: u64,
    turn: usize,
}

impl Joins {
    /// Clients that stay.
    pub fn of(clients: Range<u32>) -> Self {
        Self {
            begun_ns: vec![0; clients.len()],
            clients,
            interval_ns: 0,
            next_ns: u64::MAX,
            turn: 0,
        }
    }

    /// From now on so many leave and come back in a second.
    pub fn start(&mut self, now_ns: u64, per_second: f64) {
        self.interval_ns = (1e9 / per_second) as u64;
        self.next_ns = now_ns;
    }

    /// From now on they stay.
    pub fn stop(&mut self) {
        self.next_ns = u64::MAX;
    }

    /// When a client last began to come.
    pub fn begun_ns(&self, client: u32) -> u64 {
        self.begun_ns[(client - self.clients.start) as usize]
    }

    /// Lets those leave and come whose time it is; when the next one's is.
    pub fn on_turn(&mut self, link: &mut Link) -> u64 {
        while self.next_ns <= link.now_ns {
            let number = self.turn % self.begun_ns.len();
            let client = self.clients.start + number as u32;
            // One that has not come yet is left out.
            if link.is_live(client) {
                link.disconnect(client);
                link.connect(client);
                self.begun_ns[number] = link.now_ns;
            }
            self.turn += 1;
            self.next_ns += self.interval_ns;
        }
        self.next_ns
    }
}

/// Handshakes before and after the certificate was replaced.
#[derive(Clone, Debug, Default)]
pub struct Replaced {
    certificate: Vec<u8>,
    replaced_ns: Option<u64>,
    first_new_ns: Option<u64>,
    /// Handshakes with the new certificate.
    pub new: u64,
    /// Handshakes that began after the first with the new certificate, and got the old one.
    pub old_after_new: u64,
}

impl Replaced {
    /// A certificate will be replaced by this one.
    pub fn by(certificate: &[u8]) -> Self {
        Self {
            certificate: certificate.to_vec(),
            ..Self::default()
        }
    }

    /// It is now.
    pub fn on_replaced(&mut self, now_ns: u64) {
        self.replaced_ns = Some(now_ns);
    }

    /// A handshake that began at `begun_ns` and is over now got this certificate.
    pub fn note(&mut self, begun_ns: u64, now_ns: u64, certificate: &[u8]) {
        if certificate == self.certificate {
            self.new += 1;
            self.first_new_ns.get_or_insert(now_ns);
        } else if self.first_new_ns.is_some_and(|first| begun_ns >= first) {
            self.old_after_new += 1;
        }
    }

    /// From the replacement to the first handshake with the new certificate, in milliseconds.
    pub fn took_ms(&self) -> f64 {
        match (self.replaced_ns, self.first_new_ns) {
            (Some(replaced), Some(first)) => first.saturating_sub(replaced) as f64 / 1e6,
            _ => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_certificate_counts_only_when_the_handshake_began_after_a_new_one() {
        let mut replaced = Replaced::by(b"new");
        replaced.note(10, 20, b"old");
        assert!(replaced.took_ms().is_nan());
        replaced.on_replaced(1_000_000);
        replaced.note(2_000_000, 3_000_000, b"new");
        replaced.note(2_500_000, 3_500_000, b"old");
        assert_eq!((replaced.new, replaced.old_after_new), (1, 0));
        replaced.note(3_000_000, 4_000_000, b"old");
        assert_eq!((replaced.took_ms(), replaced.old_after_new), (2.0, 1));
    }
}
