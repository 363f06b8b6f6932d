//! Holds the list of attacks in README.md to the tests that it names.

use std::collections::BTreeSet;
use std::path::Path;

/// Tests that the list names, as `file.rs::name` below the root of the repository.
fn listed(text: &str) -> BTreeSet<&str> {
    let marked = text.split('`').skip(1).step_by(2);
    marked.filter(|word| word.contains(".rs::")).collect()
}

/// Names of the functions in `source` that are tests, also those that a macro makes tests of.
fn tests_of(source: &str) -> BTreeSet<&str> {
    let mut marked = false;
    let mut found = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        marked |= line == "#[test]";
        if let Some(rest) = line.strip_prefix("fn ") {
            if std::mem::take(&mut marked) {
                found.extend(rest.split(['(', '<']).next());
            }
        }
    }
    // The session tests: names in a list, each for one shard and for two.
    if let Some((_, list)) = source.split_once("on_one_and_two_shards!(") {
        let list = list.split(')').next().unwrap_or_default();
        found.extend(
            list.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty()),
        );
    }
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_list_of_attacks_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = read(&root.join("edge/tests/hostile/README.md"));
    let listed = listed(&text);
    assert!(listed.len() > 80, "the list is nearly empty");
    for entry in &listed {
        let (file, name) = entry.split_once("::").expect("it was split so");
        let source = read(&root.join(file));
        assert!(
            tests_of(&source).contains(name),
            "{file} has no test {name}"
        );
    }
}

#[test]
fn every_attack_of_this_folder_is_in_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let text = read(&folder.join("README.md"));
    let listed = listed(&text);
    for entry in std::fs::read_dir(&folder).expect("this folder") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().and_then(|name| name.to_str());
        let file = file.expect("a plain name");
        if !file.ends_with(".rs") || file == "index.rs" {
            continue;
        }
        for name in tests_of(&read(&path)) {
            let entry = format!("edge/tests/hostile/{file}::{name}");
            assert!(
                listed.contains(&*entry),
                "{entry} is in no row of README.md"
            );
        }
    }
}
