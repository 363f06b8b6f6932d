//! Headers as proxies send them, and as they do not.

use super::*;
use proptest::prelude::*;

/// A header with this command, family and what follows the fixed part.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// 192.0.2.7:5000 to 198.51.100.1:443.
const INET: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 0x01, 0xbb];

fn inet(extensions: &[u8]) -> Vec<u8> {
    header(0x21, 0x11, &[&INET, extensions].concat())
}

fn named(address: &str) -> Client {
    Client::Named(address.parse().expect("an address"))
}

fn client(bytes: &[u8]) -> Result<Client, ProxyError> {
    let header = parse(bytes)?.expect("a whole header");
    assert_eq!(header.bytes, bytes.len());
    Ok(header.client)
}

/// Puts the right checksum into an extension whose value is at `at`.
fn seal(bytes: &mut [u8], at: usize) {
    bytes[at..at + 4].fill(0);
    let sum = crc32c::crc32c(bytes);
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn addresses_of_both_families_are_read() {
    assert_eq!(client(&inet(&[])), Ok(named("192.0.2.7:5000")));
    let mut addresses = [0; 36];
    addresses[..2].copy_from_slice(&[0x20, 0x01]);
    addresses[15] = 9;
    addresses[32..34].copy_from_slice(&[0x13, 0x88]);
    let inet6 = header(0x21, 0x21, &addresses);
    assert_eq!(client(&inet6), Ok(named("[2001::9]:5000")));
}

#[test]
fn the_proxys_own_connections_name_nobody() {
    for (family, rest) in [
        (0x00, &[][..]),
        (0x11, &INET),
        (0x21, &[]),
        (0xff, &[7; 100]),
    ] {
        assert_eq!(client(&header(0x20, family, rest)), Ok(Client::Proxy));
    }
    assert_eq!(client(&header(0x21, 0x00, &[])), Ok(Client::Proxy));
    assert_eq!(client(&header(0x21, 0x31, &[0; 216])), Ok(Client::Proxy));
}

#[test]
fn extensions_that_nobody_knows_are_passed_over() {
    let extensions = [0x01, 0, 2, b'h', b'2', 0x04, 0, 0, 0xee, 0, 3, 1, 2, 3];
    assert_eq!(client(&inet(&extensions)), Ok(named("192.0.2.7:5000")));
}

#[test]
fn extensions_that_end_outside_are_refused() {
    for extensions in [
        &[0x01][..],
        &[0x01, 0],
        &[0x01, 0, 1],
        &[0x01, 0xff, 0xff, 0],
    ] {
        assert_eq!(client(&inet(extensions)), Err(ProxyError::Length));
    }
    assert_eq!(
        client(&inet(&[0x03, 0, 3, 1, 2, 3])),
        Err(ProxyError::Length)
    );
}

#[test]
fn a_checksum_holds_for_every_byte() {
    let mut sealed = inet(&[0x04, 0, 1, 9, 0x03, 0, 4, 0, 0, 0, 0, 0x01, 0, 1, 7]);
    let at = FIXED_BYTES + INET.len() + 7;
    seal(&mut sealed, at);
    assert_eq!(client(&sealed), Ok(named("192.0.2.7:5000")));
    for index in FIXED_BYTES..FIXED_BYTES + INET.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert_eq!(client(&changed), Err(ProxyError::Checksum), "byte {index}");
    }
    sealed[at] ^= 1;
    assert_eq!(client(&sealed), Err(ProxyError::Checksum));
}

#[test]
fn what_is_no_header_is_refused_with_its_first_wrong_byte() {
    for (bytes, error) in [
        (&b"G"[..], ProxyError::Signature),
        (b"\r\n\r\n\0\r\nQUIT\r", ProxyError::Signature),
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n",
            ProxyError::Signature,
        ),
        (b"\r\n\r\n\0\r\nQUIT\n\x11", ProxyError::Version(1)),
        (b"\r\n\r\n\0\r\nQUIT\n\x22", ProxyError::Command(2)),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x12", ProxyError::Family(0x12)),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x41", ProxyError::Family(0x41)),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b", ProxyError::Length),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\xff\xff",
            ProxyError::TooLong(16 + 0xffff),
        ),
    ] {
        assert_eq!(parse(bytes), Err(error), "{bytes:?}");
        let before = &bytes[..bytes.len() - 1];
        if !before.starts_with(b"PROXY") {
            assert_eq!(parse(before), Ok(None), "{before:?}");
        }
    }
}

#[test]
fn the_longest_header_is_taken_and_a_longer_one_is_not() {
    let room = HEADER_BYTES - FIXED_BYTES;
    let extension = |len: usize| {
        let mut bytes = vec![0x04];
        bytes.extend((len as u16).to_be_bytes());
        bytes.resize(3 + len, 0);
        bytes
    };
    let longest = inet(&extension(room - INET.len() - 3));
    assert_eq!(longest.len(), HEADER_BYTES);
    assert_eq!(client(&longest), Ok(named("192.0.2.7:5000")));
    let longer = inet(&extension(room - INET.len() - 2));
    assert_eq!(parse(&longer), Err(ProxyError::TooLong(HEADER_BYTES + 1)));
}

/// Bytes that are nearly a header.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let rest = prop::collection::vec(any::<u8>(), 0..300);
    let parts = (
        0u8..0x40,
        0u8..0x40,
        rest,
        any::<u16>(),
        any::<u16>(),
        any::<u8>(),
    );
    parts.prop_map(|(command, family, rest, place, wrong, way)| {
        // Mostly the commands and families that exist.
        let command = if command < 0x30 {
            0x20 | command & 1
        } else {
            command
        };
        let family = [0x00, 0x11, 0x21, 0x31, family][usize::from(way) % 5];
        let mut bytes = header(command, family, &rest);
        let place = usize::from(place) % bytes.len();
        match way % 7 {
            0 => bytes[place] = wrong as u8,
            1 => bytes.truncate(place),
            2 => bytes[14..16].copy_from_slice(&wrong.to_be_bytes()),
            _ => {}
        }
        bytes
    })
}

proptest! {
    #[test]
    fn any_bytes_have_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
        let _ = parse(&bytes);
        let _ = parse(&[&SIGNATURE[..], &bytes].concat());
    }

    #[test]
    fn portions_do_not_change_the_verdict(bytes in nearly()) {
        let whole = parse(&bytes);
        let mut first = Ok(None);
        for len in 0..=bytes.len() {
            first = parse(&bytes[..len]);
            if first != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(first, whole);
        if let Ok(Some(header)) = whole {
            prop_assert!((FIXED_BYTES..=bytes.len()).contains(&header.bytes));
        }
    }
}
