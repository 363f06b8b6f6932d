//! Replays the committed fuzz corpus through the bodies of the fuzz targets.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

/// The files of a folder in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{} must hold a corpus: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_file_of_every_corpus_holds_the_properties_of_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, run) in bodies::TARGETS {
        let files = files(&corpus.join(target));
        assert!(!files.is_empty(), "the corpus of {target} is empty");
        for file in files {
            // The name appears in the output of a failure only.
            println!("{}", file.display());
            run(&fs::read(&file).expect("a readable file"));
        }
    }
}

#[test]
fn every_corpus_folder_has_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for folder in files(&corpus) {
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a plain name");
        let is_known = bodies::TARGETS.iter().any(|(target, _)| *target == name);
        assert!(
            is_known,
            "fuzz/corpus/{name} belongs to no target in fuzz/bodies/mod.rs"
        );
    }
}
