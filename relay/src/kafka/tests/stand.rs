//! Where the brokers of the test stand are.

use std::path::PathBuf;

/// The stand's description.
///
/// # Panics
/// When there is no stand: these tests are about a real broker and never pass without one.
pub fn describe() -> serde_json::Value {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var_os("INTERLINK_STAND").map_or(above.into(), PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. This test needs a real Kafka: run `deploy/stand/stand up kafka`, or \
             name its stand.json in INTERLINK_STAND",
            path.display()
        )
    });
    serde_json::from_str(&text).expect("a stand.json")
}

/// Addresses of the plaintext brokers.
pub fn brokers() -> Vec<String> {
    let stand = describe();
    let brokers = stand["kafka"]["brokers"].as_array();
    let brokers = brokers.expect("the stand has no Kafka: run `deploy/stand/stand up kafka`");
    let addresses = brokers.iter().map(|broker| broker["address"].as_str());
    addresses
        .map(|address| address.expect("an address").to_owned())
        .collect()
}

/// The encrypted listener of the first broker: where, whose certificates, and who.
pub fn encrypted() -> super::Config {
    let stand = describe();
    let tls = &stand["kafka"]["brokers"][0]["tls"];
    let text = |name: &str| {
        let text = tls[name].as_str();
        text.unwrap_or_else(|| panic!("the stand says no {name}"))
            .to_owned()
    };
    super::Config {
        brokers: vec![text("address")],
        mechanism: text("mechanism")
            .to_lowercase()
            .parse()
            .expect("a mechanism"),
        username: text("username"),
        password_file: Some(text("password_file").into()),
        tls: true,
        authorities: Some(text("authorities").into()),
        ..super::Config::default()
    }
}
