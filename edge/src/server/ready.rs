//! What a node prints when it is ready: where it listens and, on the very first start,
//! a token to try it with.
//!
//! Standard output carries only these lines, so that scripts can wait for the first.
//! Runs on: the main thread.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::auth::{mint_user, Key, MintError, UserGrant};
use crate::config::{Config, Tls};

/// User of the token that the first start prints.
const FIRST_USER: &str = "ada";

/// Life of that token in seconds: a day of trying things out.
const FIRST_TOKEN_S: u64 = 86_400;

/// A token for the first start, signed with the development key.
pub(super) fn first_token(config: &Config, key: &Key) -> Result<String, MintError> {
    let now_s = unix_seconds();
    let grant = UserGrant {
        user: FIRST_USER.to_owned(),
        institution: Some("demo".to_owned()),
        roles: vec!["staff".to_owned()],
        issuer: config.auth.issuer.clone(),
        audience: config.auth.audience.clone(),
        issued_at_s: now_s,
        not_before_s: now_s,
        expires_at_s: now_s + FIRST_TOKEN_S,
        ..UserGrant::default()
    };
    mint_user(key, &grant)
}

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Prints the ready lines.
pub(super) fn announce(
    config: &Config,
    clients: SocketAddr,
    (control, api): (SocketAddr, SocketAddr),
    token: Option<&str>,
) {
    let (scheme, web) = match config.listen.tls {
        Tls::On => ("wss", "https"),
        Tls::Off | Tls::TerminatedUpstream => ("ws", "http"),
    };
    let mut text = format!(
        "interlink-edge {} is ready\n  clients  {scheme}://{clients}{}\n  \
         control  http://{control}\n  api      {web}://{api}\n  data     {}\n",
        env!("CARGO_PKG_VERSION"),
        config.listen.path,
        config.node.data_directory.display(),
    );
    if let Some(token) = token {
        text.push_str(&format!(
            "\nThis is the first start: a development key was made. A token for user \
             {FIRST_USER}, valid for a day:\n\n{token}\n\n\
             Another one: interlink-edge token --user NAME\n"
        ));
    }
    let mut out = std::io::stdout().lock();
    // Nobody reads standard output of a service whose parent has closed it.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
