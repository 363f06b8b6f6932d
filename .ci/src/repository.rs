//! The files that git knows or would take, read once.
//!
//! Invariant: what git ignores is not looked at, so that build output and data never matter.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context};
use proc_macro2::TokenStream;

/// Folders of generated code; the only ones that rules about style leave out.
const GENERATED: &str = "protocol/generated/";

/// Endings of program files.
const PROGRAM_ENDINGS: [&str; 5] = [".rs", ".ts", ".py", ".sh", ".lua"];

/// A text file.
#[derive(Debug)]
pub struct File {
    /// Path from the root, with slashes.
    pub path: String,
    /// Content.
    pub text: String,
}

impl File {
    /// Whether a program wrote it.
    pub fn is_generated(&self) -> bool {
        self.path.starts_with(GENERATED)
    }

    /// Whether it is Rust written by hand.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs") && !self.is_generated()
    }

    /// Whether it is a program written by hand, in any language.
    pub fn is_program(&self) -> bool {
        let known = PROGRAM_ENDINGS
            .iter()
            .any(|ending| self.path.ends_with(ending));
        (known || self.text.starts_with("#!/")) && !self.is_generated()
    }

    /// Whether it is a document.
    pub fn is_document(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// The lines with their numbers from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// The tokens of a Rust file; comments are gone, texts are literals.
    ///
    /// # Errors
    /// When the file is not Rust.
    pub fn tokens(&self) -> anyhow::Result<TokenStream> {
        self.text
            .parse()
            .map_err(|error| anyhow::anyhow!("{} does not parse: {error}", self.path))
    }
}

/// Everything that is checked.
#[derive(Debug)]
pub struct Repository {
    /// Where it lies on the disk.
    pub root: PathBuf,
    /// Text files in the order of their paths.
    pub files: Vec<File>,
    /// Every file and every folder above one, texts or not.
    pub paths: BTreeSet<String>,
}

impl Repository {
    /// Reads the repository that this crate belongs to.
    ///
    /// # Errors
    /// When it is no git checkout, or a file cannot be read.
    pub fn open() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context(".ci has a parent")?;
        let listed = git(
            root,
            &[
                "ls-files",
                "--cached",
                "--others",
                "--exclude-standard",
                "-z",
            ],
        )?;
        let mut files = Vec::new();
        let mut names = Vec::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            // A file that was deleted but not yet committed is gone.
            let Ok(bytes) = std::fs::read(root.join(path)) else {
                continue;
            };
            names.push(path.to_owned());
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File {
                    path: path.to_owned(),
                    text,
                });
            }
        }
        ensure!(
            !files.is_empty(),
            "git lists no files in {}",
            root.display()
        );
        Ok(Self {
            root: root.to_owned(),
            files,
            paths: with_folders(&names),
        })
    }

    /// A repository of the given files, for tests of checks.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let names: Vec<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        let files = files.iter().map(|&(path, text)| File {
            path: path.to_owned(),
            text: text.to_owned(),
        });
        Self {
            root: PathBuf::from("."),
            files: files.collect(),
            paths: with_folders(&names),
        }
    }

    /// Rust files written by hand.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }
}

/// Runs git in `root` and returns what it prints.
///
/// # Errors
/// When git is missing or refuses.
pub fn git(root: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .current_dir(root)
        .args(arguments)
        .output()
        .context("git did not start; install it with apt-get install git")?;
    ensure!(
        output.status.success(),
        "git {} failed: {}; the checks need a clone, not an archive",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The names and all folders above them.
fn with_folders(names: &[String]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for name in names {
        for above in Path::new(name).ancestors().filter_map(Path::to_str) {
            if above.is_empty() || !paths.insert(above.to_owned()) {
                break;
            }
        }
    }
    paths
}
