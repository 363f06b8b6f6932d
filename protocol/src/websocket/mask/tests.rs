//! The word-wise transform against the sentence of the specification.

use proptest::prelude::*;

use super::{advance, apply, apply_at};

/// RFC 6455 section 5.3: octet i of the result is octet i of the data xor octet i mod 4 of the key.
fn by_the_specification(payload: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
    payload
        .iter()
        .enumerate()
        .map(|(i, byte)| byte ^ key[(i + offset) % 4])
        .collect()
}

#[test]
fn every_short_length_and_offset_matches_the_specification() {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    for length in 0..200 {
        for offset in 0..9 {
            let source: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let mut payload = source.clone();
            apply_at(&mut payload, key, offset);
            assert_eq!(
                payload,
                by_the_specification(&source, key, offset),
                "{length} {offset}"
            );
        }
    }
}

#[test]
fn the_example_of_section_5_7_unmasks_to_hello() {
    let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
    apply(&mut payload, [0x37, 0xfa, 0x21, 0x3d]);
    assert_eq!(&payload, b"Hello");
}

proptest! {
    #[test]
    fn any_payload_at_any_alignment_matches_the_specification(
        source in proptest::collection::vec(any::<u8>(), 0..70_000),
        key: [u8; 4],
        offset: u32,
        skipped in 0usize..17,
    ) {
        let offset = offset as usize;
        let start = skipped.min(source.len());
        let mut payload = source.clone();
        apply_at(&mut payload[start..], key, offset);
        prop_assert_eq!(&payload[..start], &source[..start]);
        prop_assert_eq!(&payload[start..], by_the_specification(&source[start..], key, offset));
    }

    #[test]
    fn a_payload_masked_in_pieces_equals_the_whole(
        source in proptest::collection::vec(any::<u8>(), 0..300),
        key: [u8; 4],
        cut in 0usize..300,
    ) {
        let cut = cut.min(source.len());
        let mut whole = source.clone();
        apply(&mut whole, key);
        let mut pieces = source;
        let (head, tail) = pieces.split_at_mut(cut);
        apply(head, key);
        apply(tail, advance(key, cut));
        prop_assert_eq!(pieces, whole);
    }
}
