//! The incremental validator against the standard library's on the whole text.

use proptest::prelude::*;

use super::{Utf8, Violation};

fn verdict(pieces: &[&[u8]]) -> Result<(), Violation> {
    let mut state = Utf8::new();
    for piece in pieces {
        state.push(piece)?;
    }
    state.finish()
}

/// How many bytes can be pushed one by one before the refusal.
fn bytes_accepted(text: &[u8]) -> usize {
    let mut state = Utf8::new();
    text.iter()
        .take_while(|byte| state.push(&[**byte]).is_ok())
        .count()
}

#[test]
fn a_wrong_byte_is_refused_when_it_arrives() {
    // Each text with the number of bytes that are still the start of something valid.
    let texts: [(&[u8], usize); 8] = [
        (b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80", 6), // above U+10FFFF at its second byte
        (b"\xed\xa0\x80", 1),                         // a surrogate
        (b"\xc0\xaf", 0),                             // overlong in two bytes
        (b"\xe0\x80\xaf", 1),                         // overlong in three bytes
        (b"\xf0\x80\x80\xaf", 1),                     // overlong in four bytes
        (b"\x80", 0),                                 // a continuation byte alone
        (b"ab\xc3(", 3),                              // a sequence not continued
        (b"\xf5\x80\x80\x80", 0),                     // a byte that never occurs
    ];
    for (text, accepted) in texts {
        assert_eq!(bytes_accepted(text), accepted, "{text:02x?}");
    }
}

#[test]
fn a_text_that_ends_inside_a_sequence_is_refused_at_the_end() {
    assert_eq!(
        verdict(&["κόσμε".as_bytes(), b"\xf0\x9f"]),
        Err(Violation::TextNotUtf8)
    );
    assert_eq!(verdict(&[b"\xf0\x9f", b"\x98", b"", b"\x80"]), Ok(()));
}

#[test]
fn finishing_prepares_for_the_next_text() {
    let mut state = Utf8::new();
    state.push(b"\xe2\x82").expect("the start of a sequence");
    assert_eq!(state.finish(), Err(Violation::TextNotUtf8));
    assert_eq!(state, Utf8::new());
}

/// Mostly valid text with a few bytes changed, so that both verdicts occur.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (
        "[a-zé€😀\u{7ff}\u{800}\u{ffff}\u{10ffff}]{0,40}",
        prop::collection::vec(change, 0..3),
    )
        .prop_map(|(text, changes)| {
            let mut bytes = text.into_bytes();
            for (index, byte) in changes {
                if !bytes.is_empty() {
                    let at = index.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        })
}

proptest! {
    #[test]
    fn any_cuts_give_the_verdict_on_the_whole(
        bytes in nearly_text(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut start = 0;
        let mut pieces = Vec::new();
        for end in ends {
            pieces.push(&bytes[start..end]);
            start = end;
        }
        prop_assert_eq!(verdict(&pieces).is_ok(), std::str::from_utf8(&bytes).is_ok());
    }

    #[test]
    fn failing_early_is_exact(bytes in nearly_text()) {
        let expected = match std::str::from_utf8(&bytes) {
            Ok(_) => bytes.len(),
            Err(error) => match error.error_len() {
                None => bytes.len(),
                Some(length) => {
                    // The wrong byte is the one after the longest valid start: the error's
                    // length counts that start, or one byte that can start nothing.
                    let at = error.valid_up_to();
                    let start = &bytes[at..at + length];
                    let is_start = std::str::from_utf8(start)
                        .is_err_and(|error| error.error_len().is_none());
                    if is_start { at + length } else { at + length - 1 }
                }
            },
        };
        prop_assert_eq!(bytes_accepted(&bytes), expected);
    }
}
