//! Golden vectors: frames and payloads of released versions still mean what they meant.
//!
//! `vectors/v1` holds for each kind of frame its bytes and, as JSON, every field that they carry.
//! The files are written once and never again: `INTERLINK_WRITE_VECTORS=1` makes the missing ones
//! and leaves the others alone. A release that changes what the encoder writes gets a folder of
//! its own; the older ones must go on decoding.

mod compatibility;
mod describe;
mod payloads;
mod samples;

use std::fs;
use std::path::{Path, PathBuf};

/// A committed vector.
pub fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors/v1")
        .join(file)
}

/// The bytes of a committed vector, made first where it is missing and making is asked for.
pub fn committed(file: &str, fresh: &[u8]) -> Vec<u8> {
    let path = path(file);
    if std::env::var_os("INTERLINK_WRITE_VECTORS").is_some() && !path.exists() {
        fs::write(&path, fresh).expect("the folder of vectors is writable");
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_kind_of_frame_is_encoded_as_it_was() {
    for (name, bytes) in samples::all() {
        let golden = committed(&format!("{name}.bin"), &bytes);
        assert!(bytes == golden, "{name}.bin is not what the encoder writes");
    }
}

#[test]
fn every_committed_frame_means_what_it_meant() {
    for (name, bytes) in samples::all() {
        let golden = committed(&format!("{name}.bin"), &bytes);
        let meaning = describe::json(&describe::frame(&golden));
        let expected = committed(&format!("{name}.json"), meaning.as_bytes());
        let expected = String::from_utf8(expected).expect("JSON is text");
        assert_eq!(meaning, expected, "{name}.json");
    }
}

#[test]
fn every_kind_of_frame_has_a_vector() {
    use interlink_wire::Body;
    let mut kinds: Vec<String> = samples::all()
        .into_iter()
        .map(|(name, _)| name.into())
        .collect();
    for kind in Body::ENUM_VALUES.iter().filter(|kind| **kind != Body::NONE) {
        let name = snake(kind.variant_name().expect("a known kind"));
        let at = kinds.iter().position(|other| *other == name);
        kinds.remove(at.unwrap_or_else(|| panic!("{name} has no vector")));
    }
    assert!(kinds.is_empty(), "{kinds:?} are vectors of no kind");
}

/// `PublishAck` as `publish_ack`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
