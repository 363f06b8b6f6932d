//! The outside systems of a run end with the bench, however that ends.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A stand whose `down` notes its arguments in a file.
fn stand(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("stand");
    let noted = folder.join("noted");
    let text = format!("#!/bin/sh\necho \"$@\" > {}\n", noted.display());
    std::fs::write(&program, text).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    program
}

fn guard(program: &Path, directory: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_interlink-bench"))
        .arg("stand-guard")
        .arg("--program")
        .arg(program)
        .arg("--directory")
        .arg(directory)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_guard_stops_the_stand_and_removes_the_run_when_its_pipe_ends() {
    let folder = tempfile::tempdir().unwrap();
    let program = stand(folder.path());
    let run = folder.path().join("interlink-bench-abc");
    let directory = run.join("stand-0");
    std::fs::create_dir_all(&directory).unwrap();
    let mut guard = guard(&program, &directory);
    // What a killed bench does to its pipes.
    drop(guard.stdin.take());
    assert!(guard.wait().unwrap().success());
    let noted = std::fs::read_to_string(folder.path().join("noted")).unwrap();
    assert_eq!(
        noted.trim_end(),
        format!("down --directory {}", directory.display())
    );
    assert!(!run.exists());
}

#[test]
fn a_folder_that_is_no_run_of_the_bench_stays() {
    let folder = tempfile::tempdir().unwrap();
    let program = stand(folder.path());
    let directory = folder.path().join("mine").join("stand");
    std::fs::create_dir_all(&directory).unwrap();
    let mut guard = guard(&program, &directory);
    drop(guard.stdin.take());
    assert!(guard.wait().unwrap().success());
    assert!(directory.exists());
}
