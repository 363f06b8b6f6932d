//! Where the servers of the test stand are.

use serde_json::Value;

/// The sections of a node's configuration that make it one of the stand's cluster.
///
/// # Panics
/// Without a stand: these tests are about real servers and never pass without them.
pub fn sections() -> String {
    sections_of("")
}

/// As [`sections`], with more lines of the section `redis`.
pub fn sections_of(redis_lines: &str) -> String {
    let stand = stand();
    let redis = &stand["redis"]["single"]["address"];
    let broker = &stand["kafka"]["brokers"][0]["address"];
    format!(
        "[redis]\nmode = \"single\"\naddresses = [{redis}]\n{redis_lines}[kafka]\n\
         brokers = [{broker}]\n"
    )
}

/// The address of Redis.
pub fn redis() -> String {
    let stand = stand();
    let address = stand["redis"]["single"]["address"].as_str();
    address.expect("a stand with Redis").to_owned()
}

/// How many brokers of Kafka it has.
pub fn brokers() -> usize {
    let stand = stand();
    let brokers = stand["kafka"]["brokers"].as_array();
    brokers.map_or(0, Vec::len)
}

fn stand() -> Value {
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/stand/stand.json");
    let path = std::env::var("INTERLINK_STAND").unwrap_or_else(|_| above.to_owned());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{path}: {error}. This test needs real servers: run `deploy/stand/stand up redis \
             kafka` and `interlink-workers topics apply --profile single`, or name their \
             stand.json in INTERLINK_STAND"
        )
    });
    serde_json::from_str(&text).expect("a stand.json")
}
