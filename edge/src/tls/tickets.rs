//! Session tickets that every node of a cluster can open (RFC 8446, section 4.6.1).
//!
//! Purpose: after the loss of a node its clients come back to others, and a resumed
//! handshake costs a fraction of a full one. All nodes derive the same keys from one
//! secret and the number of the current period of time, so keys rotate without talk.
//!
//! A ticket is `period u32 | salt 16 | ciphertext | tag 16`. Each has a key of its own:
//! HKDF-SHA256 (RFC 5869) of the secret and the period gives the period's key, and that
//! with the salt gives key and nonce of AES-256-GCM; so no number of tickets wears a key.
//!
//! Invariants: a ticket opens in its period and the next one, and from nodes whose clocks
//! are ahead; it says nothing when it does not open. Time is an argument.
//!
//! Runs on: made on the control thread, used on shards.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM, NONCE_LEN};
use aws_lc_rs::hkdf::{KeyType, Prk, Salt, HKDF_SHA256};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

use super::error::TlsError;
use super::limits::{TICKET_SECRET_BYTES_MAX, TICKET_SECRET_BYTES_MIN};

/// Bytes of the period in a ticket.
const PERIOD_BYTES: usize = 4;
/// Bytes of the salt in a ticket.
const SALT_BYTES: usize = 16;
/// Bytes before the ciphertext.
const HEAD_BYTES: usize = PERIOD_BYTES + SALT_BYTES;
/// Bytes of an AES-256 key.
const KEY_BYTES: usize = 32;
/// Largest ticket that is looked at: what a client sends is at most this long in the
/// protocol, and ours have a few hundred bytes.
const TICKET_BYTES_MAX: usize = 16 * 1024;
/// What the secret's derived keys are for.
const PURPOSE: &[u8] = b"interlink session tickets 1";

/// The secret from which the keys of tickets are derived.
#[derive(Clone)]
pub struct TicketSecret(Vec<u8>);

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret")
    }
}

impl TicketSecret {
    /// The secret in a file, which is its whole content without the line's end.
    ///
    /// # Errors
    /// When the file cannot be read, or the secret is too short or too long.
    pub fn read(path: &std::path::Path) -> Result<Self, TlsError> {
        let mut bytes = super::material::read_file(path)?;
        while bytes.last().is_some_and(|byte| b"\r\n".contains(byte)) {
            bytes.pop();
        }
        if !(TICKET_SECRET_BYTES_MIN..=TICKET_SECRET_BYTES_MAX).contains(&bytes.len()) {
            let problem = format!(
                "holds a secret of {} bytes; {TICKET_SECRET_BYTES_MIN} to \
                 {TICKET_SECRET_BYTES_MAX} are wanted: openssl rand -base64 48",
                bytes.len()
            );
            return Err(TlsError::material(path, problem));
        }
        Ok(Self(bytes))
    }

    /// A secret that only this process knows.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn random() -> Result<Self, TlsError> {
        let mut bytes = vec![0; TICKET_SECRET_BYTES_MIN];
        rand::fill(&mut bytes).map_err(|_| TlsError::State)?;
        Ok(Self(bytes))
    }

    /// The keys of one period.
    fn keys_of(&self, period: u32) -> PeriodKeys {
        let salt = Salt::new(HKDF_SHA256, PURPOSE);
        let mut material = Vec::with_capacity(self.0.len() + PERIOD_BYTES);
        material.extend_from_slice(&period.to_be_bytes());
        material.extend_from_slice(&self.0);
        PeriodKeys {
            period,
            prk: salt.extract(&material),
        }
    }
}

#[derive(Debug)]
struct PeriodKeys {
    period: u32,
    prk: Prk,
}

/// Key and nonce of one ticket, as HKDF counts their bytes.
struct TicketMaterial;

impl KeyType for TicketMaterial {
    fn len(&self) -> usize {
        KEY_BYTES + NONCE_LEN
    }
}

impl PeriodKeys {
    /// Key and nonce of the ticket with this salt.
    fn ticket(&self, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
        let mut material = [0; KEY_BYTES + NONCE_LEN];
        let info = [salt];
        let expanded = self.prk.expand(&info, TicketMaterial).ok()?;
        expanded.fill(&mut material).ok()?;
        let (key, nonce) = material.split_at(KEY_BYTES);
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        Some((LessSafeKey::new(key), nonce))
    }
}

/// The keys of one moment: the present period seals, it and its neighbours open.
#[derive(Debug)]
pub struct TicketKeys {
    present: PeriodKeys,
    neighbours: [PeriodKeys; 2],
    lifetime_s: u32,
}

impl TicketKeys {
    /// The period of a moment.
    pub fn period(unix_s: u64, rotation: Duration) -> u32 {
        (unix_s / rotation.as_secs().max(1)) as u32
    }

    /// The keys of a moment, where a new period begins every `rotation`.
    pub fn at(secret: &TicketSecret, unix_s: u64, rotation: Duration) -> Self {
        let period = Self::period(unix_s, rotation);
        Self {
            present: secret.keys_of(period),
            neighbours: [
                secret.keys_of(period.wrapping_sub(1)),
                // A node whose clock is ahead seals with it already.
                secret.keys_of(period.wrapping_add(1)),
            ],
            // From the end of a period on, a ticket opens for one more.
            lifetime_s: rotation.as_secs().min(u64::from(u32::MAX)) as u32,
        }
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_s
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = vec![0; HEAD_BYTES];
        ticket[..PERIOD_BYTES].copy_from_slice(&self.present.period.to_be_bytes());
        rand::fill(&mut ticket[PERIOD_BYTES..]).ok()?;
        let (key, nonce) = self.present.ticket(&ticket[PERIOD_BYTES..])?;
        let mut sealed = plain.to_vec();
        let head = Aad::from(&ticket[..]);
        key.seal_in_place_append_tag(nonce, head, &mut sealed)
            .ok()?;
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (head, sealed) = ticket.split_at_checked(HEAD_BYTES)?;
        let (period, salt) = head.split_at(PERIOD_BYTES);
        let period = u32::from_be_bytes(period.try_into().ok()?);
        let keys = std::iter::once(&self.present)
            .chain(&self.neighbours)
            .find(|keys| keys.period == period)?;
        let (key, nonce) = keys.ticket(salt)?;
        let mut plain = sealed.to_vec();
        let len = key
            .open_in_place(nonce, Aad::from(head), &mut plain)
            .ok()?
            .len();
        plain.truncate(len);
        Some(plain)
    }
}
