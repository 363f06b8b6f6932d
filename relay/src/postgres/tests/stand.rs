//! Where the database of the test stand is.

use std::path::PathBuf;

use super::Config;

/// The stand's description of its PostgreSQL.
///
/// # Panics
/// When there is none: these tests are about a real database and never pass without one.
fn describe() -> serde_json::Value {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var_os("INTERLINK_STAND").map_or(above.into(), PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. This test needs a real PostgreSQL: run `deploy/stand/stand up postgres`, \
             or name its stand.json in INTERLINK_STAND",
            path.display()
        )
    });
    let stand: serde_json::Value = serde_json::from_str(&text).expect("a stand.json");
    let postgres = stand["postgres"].clone();
    let cure = "the stand has no PostgreSQL: run `deploy/stand/stand up postgres`";
    assert!(postgres.is_object(), "{cure}");
    postgres
}

fn text(value: &serde_json::Value, name: &str) -> String {
    let text = value[name].as_str();
    text.unwrap_or_else(|| panic!("the stand says no {name}"))
        .to_owned()
}

/// The database without TLS.
pub fn server() -> Config {
    let postgres = describe();
    Config {
        address: text(&postgres, "address"),
        database: text(&postgres, "database"),
        user: text(&postgres, "user"),
        password_file: Some(text(&postgres, "password_file").into()),
        ..Config::default()
    }
}

/// The database with TLS.
pub fn encrypted() -> Config {
    let tls = describe()["tls"].clone();
    Config {
        address: text(&tls, "address"),
        tls: true,
        authorities: Some(text(&tls, "authorities").into()),
        ..server()
    }
}
