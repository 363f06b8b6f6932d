//! Each check finds what it is for, and leaves alone what only looks like it.

use super::{
    attributes, commits, documents, layout, leftovers, lengths, modules, names, runtimes, schemas,
    strangers, unsafety, Found,
};
use crate::repository::Repository;

/// The messages of a check over some files, with their places.
fn found(check: fn(&Repository) -> Found, files: &[(&str, &str)]) -> Vec<String> {
    let violations = check(&Repository::of(files)).expect("the check can look");
    violations.iter().map(ToString::to_string).collect()
}

/// Places of the violations, without their messages.
fn places(check: fn(&Repository) -> Found, files: &[(&str, &str)]) -> Vec<String> {
    let before_message = |text: &String| text.split(": ").next().unwrap_or(text).to_owned();
    found(check, files).iter().map(before_message).collect()
}

#[test]
fn a_file_of_501_lines_is_too_long_unless_generated() {
    let (fits, long) = ("x\n".repeat(500), "x\n".repeat(501));
    let files = [
        ("edge/src/fits.rs", fits.as_str()),
        ("edge/src/long.rs", long.as_str()),
        ("protocol/generated/rust/src/long.rs", long.as_str()),
        ("README.md", long.as_str()),
    ];
    assert_eq!(places(lengths::files, &files), ["edge/src/long.rs"]);
}

#[test]
fn a_program_is_known_by_its_first_line_too() {
    let long = format!("#!/usr/bin/env bash\n{}", "x\n".repeat(500));
    assert_eq!(places(lengths::files, &[(".ci/run", &long)]), [".ci/run"]);
}

#[test]
fn a_function_above_the_limit_is_too_long_even_inside_a_macro() {
    let most = crate::limits::FUNCTION_LINES_MAX;
    let body = |lines: usize| format!("() {{\n{}}}\n", ";\n".repeat(lines - 2));
    let text = format!(
        "//! X.\nfn fits{}\nfn long{}\nproptest! {{ fn inside{} }}\ntrait T {{ fn none(); }}\n",
        body(most),
        body(most + 1),
        body(most + 1)
    );
    let found = found(lengths::functions, &[("edge/src/a.rs", &text)]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains(&format!("long has {} lines", most + 1)),
        "{}",
        found[0]
    );
    let inside = format!("inside has {} lines", most + 1);
    assert!(found[1].contains(&inside), "{}", found[1]);
}

#[test]
fn columns_are_characters() {
    let text = format!("{}\n{}\n", "ä".repeat(100), "ä".repeat(101));
    assert_eq!(
        places(lengths::lines, &[("edge/src/a.rs", &text)]),
        ["edge/src/a.rs:2"]
    );
}

#[test]
fn a_module_opens_with_its_document() {
    let files = [
        ("edge/src/a.rs", "//! A.\n"),
        ("edge/src/b.rs", "// B.\n//! Late.\n"),
    ];
    assert_eq!(places(modules::documents, &files), ["edge/src/b.rs:1"]);
}

#[test]
fn a_folder_holds_its_module() {
    let files = [
        ("edge/src/a.rs", "//! A."),
        ("edge/src/a/b.rs", "//! B."),
        ("edge/src/c/mod.rs", "//! C."),
        ("edge/tests/d.rs", "//! D."),
        ("edge/tests/d/table.txt", ""),
    ];
    assert_eq!(places(modules::folders, &files), ["edge/src/a.rs"]);
}

#[test]
fn banned_words_are_found_in_every_spelling() {
    let text = "//! The hub of a manager.\nstruct ConnectionManager;\nfn parse_helpers() {}\n\
                mod utils;\nfn chub() {}\nfn handle() {}\n// struct Packet;\n";
    let files = [("edge/src/common/a.rs", text)];
    let expected = [
        "edge/src/common",
        "edge/src/common/a.rs:2",
        "edge/src/common/a.rs:3",
        "edge/src/common/a.rs:4",
    ];
    assert_eq!(places(names::names, &files), expected);
}

#[test]
fn unfinished_work_is_found_and_its_names_in_texts_are_not_code() {
    let mark = concat!("TO", "DO");
    let text = format!(
        "//! A.\n// {mark}: later\nfn a() {{ todo!() }}\nconst T: &str = \"dbg!(x)\";\n\
         fn b() {{ x({{ dbg!(1) }}) }}\n"
    );
    let files = [("edge/src/a.rs", text.as_str())];
    let expected = ["edge/src/a.rs:2", "edge/src/a.rs:3", "edge/src/a.rs:5"];
    assert_eq!(places(leftovers::leftovers, &files), expected);
}

#[test]
fn switched_off_tests_and_lints_are_found() {
    let text = "//! A.\n#![allow(dead_code)]\n#[ignore]\nfn a() {}\n#[allow(unused)]\nfn b() {}\n\
                #[expect(unused, reason = \"shown\")]\nfn c() {}\n#[test]\nfn d() {}\n";
    let expected = ["edge/src/a.rs:2", "edge/src/a.rs:3", "edge/src/a.rs:5"];
    assert_eq!(
        places(attributes::attributes, &[("edge/src/a.rs", text)]),
        expected
    );
}

#[test]
fn unsafe_code_needs_its_place_or_its_sentence() {
    let plain = "//! A.\nfn a() { unsafe { b() } }\n";
    let files = [
        ("edge/uring/src/a.rs", plain),
        ("edge/src/shard/a.rs", plain),
        (
            "edge/src/shard/b.rs",
            "//! B uses unsafe for a call.\nunsafe fn b() {}\n",
        ),
        (
            "edge/src/shard/c.rs",
            "//! C.\n#![forbid(unsafe_code)]\n// unsafe\n",
        ),
    ];
    assert_eq!(places(unsafety::places, &files), ["edge/src/shard/a.rs:2"]);
}

#[test]
fn runtimes_and_clocks_stay_in_their_layers() {
    let files = [
        (
            "edge/src/shard/driver.rs",
            "//! D.\nuse glommio::executor;\n",
        ),
        (
            "edge/src/shard/a.rs",
            "//! A.\nuse glommio::executor;\nuse tokio::net;\n",
        ),
        ("edge/src/control/a.rs", "//! A.\nuse tokio::net;\n"),
        (
            "protocol/src/a.rs",
            "//! A.\nuse std::time::Instant;\nuse std::net::TcpStream;\n",
        ),
        ("protocol/src/b.rs", "//! B.\nuse std::fmt;\n"),
        ("protocol/src/tests.rs", "//! T.\nuse std::fs;\n"),
    ];
    let expected = [
        "edge/src/shard/a.rs:2",
        "edge/src/shard/a.rs:3",
        "protocol/src/a.rs:2",
        "protocol/src/a.rs:3",
    ];
    assert_eq!(places(runtimes::sources, &files), expected);
}

#[test]
fn the_top_level_is_closed_and_folders_explain_themselves() {
    let files = [
        ("extra/a.rs", ""),
        ("edge/a.rs", ""),
        ("bench/README.md", ""),
    ];
    let found = places(layout::layout, &files);
    for place in ["extra", "edge/README.md", "LICENSE", "relay"] {
        assert!(
            found.iter().any(|found| found == place),
            "{place} in {found:?}"
        );
    }
    assert!(
        !found.iter().any(|found| found == "bench/README.md"),
        "{found:?}"
    );
}

#[test]
fn paths_in_documents_must_exist() {
    let text = "`edge/src/a.rs`, `src/a.rs`, `edge/src/*.rs` and `edge/src/gone.rs`\n\
                [a](src/a.rs#x) [b](src/gone.md) [c](https://example.com/x)\n\
                `/metrics`, `text/plain`, `a.rs`, `gone.rs`, `target/debug/x`\n\
                ```\nedge/src/a.rs edge/gone/x\n```\n";
    let files = [("edge/README.md", text), ("edge/src/a.rs", "")];
    let found = found(documents::paths, &files);
    let expected = [
        "edge/README.md:1: 'edge/src/gone.rs'",
        "edge/README.md:2: 'src/gone.md'",
        "edge/README.md:3: 'gone.rs'",
        "edge/README.md:5: 'edge/gone/x'",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn paths_of_a_machine_and_unknown_hosts_are_found() {
    let path = concat!("see /ho", "me/x\n");
    let hosts = "https://docs.rs/x https://www.example.com http://school.example:80/\n\
                 https:/";
    let hosts = format!("{hosts}/mirror.invalid/index\n");
    let files = [("a.md", path), ("b.md", hosts.as_str())];
    assert_eq!(places(strangers::strangers, &files), ["a.md:1", "b.md:2"]);
}

#[test]
fn a_field_that_the_verifier_passes_unread_is_found() {
    let schema = "// nested_flatbuffer must not be used\n\
                  table A {\n  b:[ubyte] (nested_flatbuffer: \"B\");\n}\n";
    assert_eq!(places(schemas::schemas, &[("a.fbs", schema)]), ["a.fbs:3"]);
}

#[test]
fn packages_of_a_mirror_are_found() {
    let lock = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
                source = \"git+https://example.com/x\"\n";
    assert_eq!(
        places(strangers::package_sources, &[("Cargo.lock", lock)]),
        ["Cargo.lock:2"]
    );
}

#[test]
fn a_subject_names_its_area() {
    assert_eq!(commits::judge("edge/uring: open rings on demand"), None);
    for wrong in [
        "Open rings",
        "Edge: open rings",
        ": open",
        &"edge: x".repeat(11),
    ] {
        assert!(commits::judge(wrong).is_some(), "{wrong}");
    }
}
