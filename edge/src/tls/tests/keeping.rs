//! The keeper: files that change, files that are wrong, and time.

use std::sync::atomic::Ordering;

use rustls::version::TLS13;

use super::*;

fn keeper(files: &Files) -> TlsKeeper {
    TlsKeeper::open(TlsPlan {
        pairs: files.pairs.clone(),
        ticket_secret: None,
        ticket_rotation: ROTATION,
    })
    .expect("the files are right")
}

fn served(keeper: &TlsKeeper) -> Arc<ServerConfig> {
    Arc::clone(&*keeper.serving().reader())
}

/// Whether a client that trusts all certificates of `files` finds `name`.
fn serves(files: &Files, config: &Arc<ServerConfig>, name: &'static str) -> bool {
    let mut pair = Pair::new(Arc::new(files.client(&[&TLS13])), config, name);
    // A client that does not trust the certificate ends the handshake with an alert.
    let _ = pair.talk();
    !pair.client.is_handshaking()
}

#[test]
fn new_connections_get_the_new_certificate_and_old_ones_go_on() {
    let mut files = Files::of(&[NAME]);
    let mut keeper = keeper(&files);
    let mut old = Pair::new(Arc::new(files.client(&[&TLS13])), &served(&keeper), NAME);
    old.talk().expect("they agree");
    let now_s = crate::server::unix_seconds();
    keeper.look(now_s, false);
    assert_eq!(keeper.counts().reloads.load(Ordering::Relaxed), 0);
    let pair = files.pairs[0].clone();
    files.write(&pair, "new.example");
    keeper.look(now_s, false);
    assert_eq!(keeper.counts().reloads.load(Ordering::Relaxed), 1);
    assert!(serves(&files, &served(&keeper), "new.example"));
    assert!(!serves(&files, &served(&keeper), NAME));
    assert_eq!(old.answer(b"still here"), b"still here");
}

#[test]
fn a_certificate_without_its_key_changes_nothing_until_the_key_follows() {
    let files = Files::of(&[NAME]);
    let mut keeper = keeper(&files);
    let now_s = crate::server::unix_seconds();
    let made = rcgen::generate_simple_self_signed(vec!["new.example".to_owned()]).expect("a name");
    replace(&files.pairs[0].0, &made.cert.pem());
    keeper.look(now_s, false);
    assert_eq!(keeper.counts().reload_failures.load(Ordering::Relaxed), 1);
    assert!(serves(&files, &served(&keeper), NAME));
    replace(&files.pairs[0].1, &made.signing_key.serialize_pem());
    keeper.look(now_s, false);
    assert_eq!(keeper.counts().reloads.load(Ordering::Relaxed), 1);
    assert!(!serves(&files, &served(&keeper), NAME));
}

#[test]
fn ticket_keys_rotate_with_time_and_sessions_resume_across_it() {
    let files = Files::of(&[NAME]);
    let mut keeper = keeper(&files);
    let client = Arc::new(files.client(&[&TLS13]));
    let now_s = crate::server::unix_seconds();
    let mut resumed = Vec::new();
    for periods in [0, 1, 3] {
        keeper.look(now_s + periods * ROTATION.as_secs(), false);
        let mut pair = Pair::new(Arc::clone(&client), &served(&keeper), NAME);
        pair.talk().expect("they agree");
        resumed.push(pair.server.is_resumed());
    }
    assert_eq!(resumed, [false, true, false]);
}

#[test]
fn wrong_files_are_named_with_the_cure() {
    let files = Files::of(&[NAME, "other.example"]);
    let (chain, key) = files.pairs[0].clone();
    let other_key = files.pairs[1].1.clone();
    let missing = chain.with_extension("missing");
    let cases = [
        (missing.clone(), key.clone(), "cannot read"),
        (key.clone(), key.clone(), "holds no certificate"),
        (chain.clone(), chain.clone(), "holds no private key"),
        (chain.clone(), other_key, "does not fit the certificate"),
    ];
    for (chain, key, words) in cases {
        let error = Certificates::read(&[(chain, key)]).expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(Certificates::read(&[]).is_err());
}
