//! Every state of every machine by every event, compared with committed tables.
//!
//! A deliberate change: `INTERLINK_WRITE_TABLES=1 cargo test -p interlink-protocol --test
//! transitions` writes the tables again; the difference belongs into the same commit.

use std::fs;
use std::path::Path;

use interlink_protocol::session::heartbeat::HeartbeatState;
use interlink_protocol::session::machine::{render, unreachable, Machine};
use interlink_protocol::session::state::{ConnectionState, SessionState};
use interlink_protocol::session::subscribe::SubscriptionState;

fn check<M: Machine + PartialEq>(name: &str) {
    let file = format!("tests/transitions/{name}.txt");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    let table = render::<M>();
    if std::env::var_os("INTERLINK_WRITE_TABLES").is_some() {
        fs::write(&path, &table).expect("the folder of tables is writable");
    }
    let committed = fs::read_to_string(&path).expect("the table is committed");
    assert_eq!(table, committed, "{file} differs from the machine");
    assert_eq!(
        unreachable::<M>(),
        [],
        "{name} has states that nothing leads to"
    );
}

#[test]
fn the_connection_does_what_its_table_says() {
    check::<ConnectionState>("connection");
}

#[test]
fn the_session_does_what_its_table_says() {
    check::<SessionState>("session");
}

#[test]
fn the_subscription_does_what_its_table_says() {
    check::<SubscriptionState>("subscription");
}

#[test]
fn the_heartbeat_does_what_its_table_says() {
    check::<HeartbeatState>("heartbeat");
}
