//! Key files and the revocation list, changed while the node runs.
//!
//! `unsafe` stands here for the signal that asks a node to read them again.

use interlink_edge::config::Config;

use super::support::{wait_for, Setup};
use super::*;

/// A node whose only keys are in a file, and the first of these keys.
fn node_with(directory: &Path, more: &str) -> (Node, Key) {
    let path = directory.join("token.pem");
    replace(&path, &key_pair("").0);
    let key = Key::read(&path).expect("a key");
    let lines = format!("[auth]\nkey_files = [\"{}\"]\n{more}", path.display());
    (Setup::shards(2).config(&lines).start(), key)
}

fn issuer() -> String {
    Config::default().auth.issuer
}

#[test]
fn keys_are_replaced_while_clients_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let (node, old) = node_with(directory.path(), "");
    assert!(!node.data().join("keys/development.key").exists());
    let mut raw = hello(&node, &token_by(&old, &issuer(), "ada")).expect("welcomed");
    let path = directory.path().join("token.pem");
    replace(&path, &key_pair("").0);
    let new = Key::read(&path).expect("a key");
    wait_for("the new key", || {
        hello(&node, &token_by(&new, &issuer(), "bob")).ok()
    });
    let error = hello(&node, &token_by(&old, &issuer(), "ada")).err();
    assert_eq!(
        error,
        refused(ErrorCode::TokenInvalid, CloseCode::TokenInvalid)
    );
    assert_open(&mut raw);
}

#[test]
fn a_broken_key_file_changes_nothing_and_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let (node, key) = node_with(directory.path(), "");
    replace(&directory.path().join("token.pem"), "-----BEGIN NONSENSE");
    wait_for("the failure", || {
        let failures = node.metric("interlink_edge_key_reload_failures_total")?;
        (failures >= 1.0).then_some(())
    });
    assert!(hello(&node, &token_by(&key, &issuer(), "ada")).is_ok());
    assert!(node
        .log()
        .contains("keys and revocations stay as they were"));
    assert!(!node.log().contains("NONSENSE"));
}

#[test]
fn a_hangup_reads_everything_again_and_ends_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut node, key) = node_with(directory.path(), "");
    let before = node.metric("interlink_edge_key_reloads_total");
    let mut raw = hello(&node, &token_by(&key, &issuer(), "ada")).expect("welcomed");
    // SAFETY: kill takes plain numbers; the process is a child that was not waited for.
    let result = unsafe { libc::kill(node.process() as i32, libc::SIGHUP) };
    assert_eq!(result, 0);
    wait_for("the reload", || {
        (node.metric("interlink_edge_key_reloads_total") > before).then_some(())
    });
    assert_eq!(node.exited(), None);
    assert_open(&mut raw);
}

#[test]
fn a_revocation_ends_open_connections_within_a_second() {
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("revoked");
    replace(&list, "# nobody yet\n");
    let more = format!("revocation_file = \"{}\"", list.display());
    let (node, key) = node_with(directory.path(), &more);
    let now_s = unix_seconds();
    let token = |user: &str, id: &str, issued_at_s: u64| {
        let grant = UserGrant {
            user: user.to_owned(),
            id: Some(id.to_owned()),
            issuer: issuer(),
            audience: "interlink".to_owned(),
            issued_at_s,
            not_before_s: now_s - 100,
            expires_at_s: now_s + 600,
            ..UserGrant::default()
        };
        mint_user(&key, &grant).expect("signed")
    };
    let stolen = token("ada", "t-1", now_s);
    let old = token("bob", "t-2", now_s - 60);
    let mut by_id = hello(&node, &stolen).expect("welcomed");
    let mut other_of_ada = hello(&node, &token("ada", "t-3", now_s)).expect("welcomed");
    let mut by_user = hello(&node, &old).expect("welcomed");
    let mut fresh_of_bob = hello(&node, &token("bob", "t-4", now_s)).expect("welcomed");
    let start = wall_clock();
    replace(&list, &format!("token t-1\nuser bob {}\n", now_s - 30));
    for raw in [&mut by_id, &mut by_user] {
        assert_eq!(raw.close_code(), CloseCode::TokenRevoked.number());
        assert!(wall_clock() - start < PROMISE, "{:?}", wall_clock() - start);
    }
    assert_open(&mut other_of_ada);
    assert_open(&mut fresh_of_bob);
    let revoked = refused(ErrorCode::TokenRevoked, CloseCode::TokenRevoked);
    assert_eq!(hello(&node, &stolen).err(), revoked);
    assert_eq!(hello(&node, &old).err(), revoked);
    other_of_ada.send_encoded(|encoder| encoder.refresh(5, &stolen));
    assert_eq!(
        error_of(&mut other_of_ada),
        (ErrorCode::TokenRevoked.number(), 5)
    );
    assert_eq!(node.metric("interlink_edge_revocations"), Some(2.0));
    // A list that cannot be read revokes nothing less.
    replace(&list, "user nobody\n");
    wait_for("the failure", || {
        let failures = node.metric("interlink_edge_key_reload_failures_total")?;
        (failures >= 1.0).then_some(())
    });
    assert_eq!(hello(&node, &stolen).err(), revoked);
    replace(&list, "");
    wait_for("the empty list", || hello(&node, &stolen).ok());
}

#[test]
fn the_token_command_signs_with_the_chosen_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let (node, _) = node_with(directory.path(), "");
    let path = directory.path().join("other.pem");
    replace(&path, &key_pair("").0);
    let issue = |arguments: &[&str]| {
        let mut command = node.command("token");
        command
            .args(["--user", "ada", "--id", "t-1"])
            .args(arguments);
        let output = command.output().expect("the command runs");
        let text = String::from_utf8(output.stdout).expect("text");
        text.trim().to_owned()
    };
    let configured = issue(&[]);
    let header = configured.split('.').next().expect("a header");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    assert_eq!(header["alg"], "EdDSA");
    assert!(hello(&node, &configured).is_ok());
    let other = issue(&["--key", &path.display().to_string()]);
    let error = hello(&node, &other).err();
    assert_eq!(
        error,
        refused(ErrorCode::TokenInvalid, CloseCode::TokenInvalid)
    );
}
