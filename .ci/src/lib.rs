//! The judge of this repository: checks of its own rules, and the runner behind `.ci/run`.
//!
//! Purpose: what a compiler cannot see (lengths, names, layers, documents, commits) is an
//! ordinary test in `tests/repository.rs`, one for each rule of `.ci/STYLE.md` that is marked
//! [tidy]. The runner does in one order what a change must pass.
//!
//! Invariants: no check has a list of exempt files; generated code is exempt by its folder.
//! A step that could not run counts as failed.

pub mod checks;
pub mod limits;
pub mod repository;
pub mod run;
