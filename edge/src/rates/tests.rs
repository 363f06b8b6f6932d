//! Rates that shards share.

use super::*;

fn rates(lines: &[(&str, u32)]) -> Rates {
    let mut config = Config::default();
    for (name, value) in lines {
        match *name {
            "institution_rate" => config.limits.institution_rate = *value,
            "institution_burst" => config.limits.institution_burst = *value,
            "address_rate" => config.limits.address_rate = *value,
            "address_burst" => config.limits.address_burst = *value,
            other => panic!("no such rate: {other}"),
        }
    }
    Rates::new(&config, 7)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn one_network_is_one_address() {
    let network = |text: &str| network_of(address(text));
    assert_eq!(network("192.0.2.7"), network("::ffff:192.0.2.7"));
    assert_ne!(network("192.0.2.7"), network("192.0.2.8"));
    assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
    assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
}

#[test]
fn authenticated_connections_do_not_count() {
    let rates = rates(&[("address_rate", 1), ("address_burst", 3)]);
    let school = address("192.0.2.7");
    for _ in 0..100 {
        assert_eq!(rates.connect(school, 1), Ok(()));
        rates.authenticated(school);
    }
    let strangers = (0..10).filter(|_| rates.connect(school, 1).is_ok());
    assert_eq!(strangers.count(), 3);
    assert_eq!(rates.connect(address("192.0.2.8"), 1), Ok(()));
    assert_eq!(rates.connect(school, 1_000_000_001), Ok(()));
}

#[test]
fn shards_together_admit_no_more_than_the_institution_may() {
    let rates = rates(&[("institution_rate", 1_000), ("institution_burst", 500)]);
    let key = rates.institution_key("school").expect("a name");
    let mut shards = [Batches::default(), Batches::default(), Batches::default()];
    let mut admitted = 0;
    for number in 0..3_000 {
        let shard = &mut shards[number % 3];
        admitted += usize::from(shard.take(&rates, key, 1).is_ok());
    }
    // Less than one batch a shard may be left over.
    let least = 500 - 3 * rates.batch as usize;
    assert!((least..=500).contains(&admitted), "{admitted}");
    // A second later there is room for a second's worth, up to the burst.
    let later = (0..3_000).filter(|_| shards[0].take(&rates, key, 1_000_000_001).is_ok());
    let later = later.count();
    assert!((least..=500).contains(&later), "{later}");
}

#[test]
fn institutions_do_not_use_up_each_others_rates() {
    let rates = rates(&[("institution_rate", 1_000), ("institution_burst", 100)]);
    let mut shard = Batches::default();
    let loud = rates.institution_key("loud").expect("a name");
    while shard.take(&rates, loud, 1).is_ok() {}
    let quiet = rates.institution_key("quiet").expect("a name");
    assert_eq!(shard.take(&rates, quiet, 1), Ok(()));
    assert_eq!(rates.institution_key(""), None);
}
