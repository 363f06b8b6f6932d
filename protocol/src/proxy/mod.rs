//! The header of the PROXY protocol, version 2: whom a proxy speaks for.
//!
//! A proxy in front of a node sends it once, before any byte of the client, also in front of TLS.
//! Source: "The PROXY protocol, versions 1 & 2", HAProxy, 2020, section 2.2.
//!
//! Invariants: nothing is guessed: what is not a whole, valid header is an error or asks for more
//! bytes; an error is known with the first byte that makes it one, where the checksum does not
//! decide. The verdict does not depend on the portions in which bytes come.
//! Limits: [`HEADER_BYTES`]. Runs on: any thread; no allocation.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header. Addresses take 52 bytes; the rest is for extensions, of which the largest
/// that proxies send is the client's certificate names. It fits one receive.
pub const HEADER_BYTES: usize = 2_048;

/// The bytes with which every header begins; no HTTP request and no TLS record does.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
const FIXED_BYTES: usize = 16;
/// Type of the extension with a checksum (section 2.2.3).
const TYPE_CRC32C: u8 = 0x03;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The proxy's own, such as a health check, or of a client without an address of the Internet.
    Proxy,
    /// The one that the proxy names.
    Named(SocketAddr),
}

/// A valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length; what follows is the client's.
    pub bytes: usize,
    /// Whose connection it is.
    pub client: Client,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// They begin otherwise.
    #[error("there is no header of PROXY protocol version 2; let the proxy send one")]
    Signature,
    /// Another version.
    #[error("version {0} of the PROXY protocol is not spoken; use version 2")]
    Version(u8),
    /// A command that nobody has defined.
    #[error("command {0} of the PROXY protocol is not known")]
    Command(u8),
    /// An address family or transport that a stream cannot have.
    #[error("address family and transport {0:#04x} do not belong to a stream of a client")]
    Family(u8),
    /// Longer than any that is taken.
    #[error("a header of {0} bytes is too long, at most {HEADER_BYTES} are taken")]
    TooLong(usize),
    /// Addresses or extensions end outside of the header.
    #[error("the lengths in the header contradict each other")]
    Length,
    /// It was changed on its way.
    #[error("the checksum of the header is wrong")]
    Checksum,
}

/// Looks for a header at the beginning of `received`; `None` asks for more bytes.
///
/// # Errors
/// When no bytes that may follow make it a valid header; the connection is to be dropped.
pub fn parse(received: &[u8]) -> Result<Option<Header>, ProxyError> {
    let compared = received.len().min(SIGNATURE.len());
    if received[..compared] != SIGNATURE[..compared] {
        return Err(ProxyError::Signature);
    }
    let Some(&command) = received.get(12) else {
        return Ok(None);
    };
    if command >> 4 != 2 {
        return Err(ProxyError::Version(command >> 4));
    }
    let is_own = match command & 0x0f {
        0 => true,
        1 => false,
        other => return Err(ProxyError::Command(other)),
    };
    let Some(&family) = received.get(13) else {
        return Ok(None);
    };
    let family = family_of(family, is_own)?;
    let Some(fixed) = received.get(..FIXED_BYTES) else {
        return Ok(None);
    };
    let bytes = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if bytes > HEADER_BYTES {
        return Err(ProxyError::TooLong(bytes));
    }
    if bytes < FIXED_BYTES + family.address_bytes() {
        return Err(ProxyError::Length);
    }
    let Some(header) = received.get(..bytes) else {
        return Ok(None);
    };
    let client = match family {
        Family::Skipped => Client::Proxy,
        Family::Inet | Family::Inet6 => {
            check_extensions(header, FIXED_BYTES + family.address_bytes())?;
            Client::Named(family.source(&header[FIXED_BYTES..]))
        }
    };
    Ok(Some(Header { bytes, client }))
}

/// What is read of the addresses.
#[derive(Clone, Copy)]
enum Family {
    /// Nothing: whatever there is belongs to nobody who could be told apart.
    Skipped,
    Inet,
    Inet6,
}

fn family_of(byte: u8, is_own: bool) -> Result<Family, ProxyError> {
    match byte {
        // A command for the proxy's own connection is valid whatever the addresses are.
        _ if is_own => Ok(Family::Skipped),
        // Unspecified, and stream sockets of one host.
        0x00 | 0x31 => Ok(Family::Skipped),
        0x11 => Ok(Family::Inet),
        0x21 => Ok(Family::Inet6),
        other => Err(ProxyError::Family(other)),
    }
}

impl Family {
    /// Bytes of both addresses and both ports.
    const fn address_bytes(self) -> usize {
        match self {
            Family::Skipped => 0,
            Family::Inet => 2 * 4 + 2 * 2,
            Family::Inet6 => 2 * 16 + 2 * 2,
        }
    }

    /// The client's address: the first of both addresses, and the first of both ports.
    fn source(self, addresses: &[u8]) -> SocketAddr {
        fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
            *bytes.first_chunk().expect("the length was checked")
        }
        let (address, ports): (IpAddr, &[u8]) = match self {
            Family::Inet | Family::Skipped => {
                let octets: [u8; 4] = first(addresses);
                (Ipv4Addr::from(octets).into(), &addresses[8..])
            }
            Family::Inet6 => {
                let octets: [u8; 16] = first(addresses);
                (Ipv6Addr::from(octets).into(), &addresses[32..])
            }
        };
        SocketAddr::new(address, u16::from_be_bytes(first(ports)))
    }
}

/// Walks over the extensions, of which all but the checksum are of no interest here.
fn check_extensions(header: &[u8], start: usize) -> Result<(), ProxyError> {
    let mut at = start;
    while at < header.len() {
        let head = header.get(at..at + 3).ok_or(ProxyError::Length)?;
        let len = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let value = header.get(at + 3..at + 3 + len).ok_or(ProxyError::Length)?;
        if head[0] == TYPE_CRC32C {
            let wanted: [u8; 4] = value.try_into().map_err(|_| ProxyError::Length)?;
            // It is computed over the whole header with itself as zeros.
            let sum = crc32c::crc32c(&header[..at + 3]);
            let sum = crc32c::crc32c_append(sum, &[0; 4]);
            let sum = crc32c::crc32c_append(sum, &header[at + 7..]);
            if sum != u32::from_be_bytes(wanted) {
                return Err(ProxyError::Checksum);
            }
        }
        at += 3 + len;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
