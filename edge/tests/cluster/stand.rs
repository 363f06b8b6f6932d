//! Where the servers of the test stand are.

use serde_json::Value;

/// The sections of a node's configuration that make it one of the stand's cluster.
///
/// # Panics
/// Without a stand: these tests are about real servers and never pass without them.
pub fn sections() -> String {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var("INTERLINK_STAND").unwrap_or_else(|_| above.to_owned());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{path}: {error}. This test needs real servers: run `deploy/stand/stand up redis \
             kafka` and `interlink-workers topics apply --profile single`, or name their \
             stand.json in INTERLINK_STAND"
        )
    });
    let stand: Value = serde_json::from_str(&text).expect("a stand.json");
    let redis = &stand["redis"]["single"]["address"];
    let broker = &stand["kafka"]["brokers"][0]["address"];
    format!("[redis]\nmode = \"single\"\naddresses = [{redis}]\n[kafka]\nbrokers = [{broker}]\n")
}
