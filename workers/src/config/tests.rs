//! What a configuration may say.

use super::Config;

#[test]
fn a_whole_section_is_taken_over() {
    let text = r#"
        [kafka]
        brokers = ["a:9092", "b:9092"]
        mechanism = "scram-sha-512"
        username = "workers"
        password_file = "/run/secrets/kafka"
        tls = true
        authorities = "/etc/ssl/own.pem"
        topic_prefix = "interlink2."
    "#;
    let config = Config::parse(text).expect("right");
    let client = config.kafka.client().expect("right");
    assert_eq!(client.brokers, ["a:9092", "b:9092"]);
    assert_eq!(client.mechanism.name(), "scram-sha-512");
    assert_eq!(client.username, "workers");
    assert!(client.tls);
    assert_eq!(client.topic_prefix, "interlink2.");
}

#[test]
fn an_unknown_key_is_refused_by_its_name() {
    for text in [
        "[kafka]\nbrokers = [\"a:1\"]\nbroker = 1",
        "[kafka]\nbrokers = [\"a:1\"]\n[redys]\n",
    ] {
        let error = Config::parse(text).expect_err("unknown");
        assert!(error.contains("unknown field"), "{error}");
    }
}

#[test]
fn a_contradiction_is_refused_before_anything_starts() {
    let error = Config::parse("[kafka]\nbrokers = []").expect_err("no broker");
    assert!(error.contains("kafka.brokers"), "{error}");
    let text = "[kafka]\nbrokers = [\"a:1\"]\nmechanism = \"kerberos\"";
    let error = Config::parse(text).expect_err("unknown mechanism");
    assert!(error.contains("scram-sha-256"), "{error}");
}

#[test]
fn the_servers_of_the_own_region_are_checked_and_its_name_is_that_of_the_nodes() {
    let text = |more: &str, mode: &str| {
        format!(
            "{more}[kafka]\nbrokers = [\"a:1\"]\n\
             [redis]\nmode = \"{mode}\"\naddresses = [\"b:2\"]"
        )
    };
    let config = Config::parse(&text("region = \"eu\"\n", "single")).expect("right");
    assert_eq!(config.region(), "eu");
    let redis = config.redis.expect("a section").client().expect("right");
    assert_eq!((&*redis.prefix, redis.partitions), ("interlink", 128));
    let config = Config::parse(&text("", "cluster")).expect("right");
    assert_eq!(config.region(), "local", "as nodes that name none");
    let error = Config::parse(&text("", "shards")).expect_err("unknown");
    assert!(error.contains("use single"), "{error}");
}

#[test]
fn a_bridge_leads_from_one_region_to_another() {
    let text = |region: &str, mode: &str| {
        format!(
            "[kafka]\nbrokers = [\"a:1\"]\n[bridge]\nregion = \"{region}\"\ntarget = \"us\"\n\
             [bridge.kafka]\nbrokers = [\"b:1\"]\n\
             [bridge.redis]\nmode = \"{mode}\"\naddresses = [\"b:2\"]"
        )
    };
    let config = Config::parse(&text("eu", "sentinel")).expect("right");
    let section = config.bridge().expect("a section");
    assert_eq!(section.redis.client().expect("right").partitions, 128);
    let error = Config::parse(&text("us", "single")).expect_err("the same region");
    assert!(error.contains("name another one"), "{error}");
    let error = Config::parse(&text("eu", "shards")).expect_err("unknown");
    assert!(error.contains("use single"), "{error}");
    let none = Config::parse("[kafka]\nbrokers = [\"a:1\"]").expect("right");
    assert!(none.bridge().is_err());
}

#[test]
fn an_outbox_is_in_a_database_of_its_own() {
    let text = |more: &str| {
        format!(
            "[kafka]\nbrokers = [\"a:1\"]\n[outbox]\naddress = \"127.0.0.1:5432\"\n\
             database = \"school\"\nuser = \"workers\"\n{more}"
        )
    };
    let config = Config::parse(&text("schema = \"events\"")).expect("right");
    let client = config.outbox.expect("a section").client().expect("right");
    assert_eq!((&*client.database, &*client.schema), ("school", "events"));
    for (more, cure) in [
        ("tls = true", "[outbox]"),
        ("schema = \"a-b\"", "lower-case"),
        ("history_days = 9", "unknown field"),
    ] {
        let error = Config::parse(&text(more)).expect_err("a contradiction");
        assert!(error.contains(cure), "{error}");
    }
}
