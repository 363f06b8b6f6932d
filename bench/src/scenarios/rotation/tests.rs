//! What the checks of the rotation make of ends, answers and refusals.

use super::canary::Canary;
use super::load::{Cast, RotationLoad};
use crate::engine::signing_key::SigningKey;
use crate::engine::token::{Grants, ISSUER};
use crate::engine::{EndCause, Fleet, FleetConfig, Greeting, Link, Workload};
use crate::scenarios::crash_load::CrashLoad;
use crate::scenarios::crash_user::CrashUser;
use interlink_protocol::CloseCode;
use interlink_uring::{EdgeRing, RingConfig};
use std::time::{SystemTime, UNIX_EPOCH};

const CAST: Cast = Cast {
    refreshing: 1,
    services: 1,
    expiring: 2,
    joining: 1,
};
const EXPIRED: EndCause = EndCause::CloseFrame(CloseCode::TokenExpired.number());

struct Stage {
    fleet: Fleet<EdgeRing>,
    load: RotationLoad,
}

impl Stage {
    fn set() -> Self {
        let user = |number: u32| CrashUser {
            name: format!("u{number}"),
            ..CrashUser::default()
        };
        let users: Vec<CrashUser> = (0..6).map(user).collect();
        let keys = ["first", "second"].map(|kid| SigningKey::make(kid).unwrap());
        let signers = keys.map(|key| key.signer(ISSUER).unwrap());
        let config = FleetConfig {
            targets: vec!["127.0.0.1:9".parse().unwrap()],
            greeting: Greeting::Session,
            clients: 6,
            unfinished_max: 6,
            sources_from: 0,
            seed: 1,
            tls: None,
        };
        let mut traffic = CrashLoad::new(users, Vec::new(), Vec::new(), 1);
        traffic.reconnects = false;
        Self {
            fleet: Fleet::new(EdgeRing::new(RingConfig::default()).unwrap(), config),
            load: RotationLoad::new(traffic, CAST, signers, b"new"),
        }
    }

    fn link(&mut self) -> &mut Link {
        self.fleet.link()
    }

    fn end(&mut self, client: u32, cause: EndCause) {
        self.load.on_end(self.fleet.link(), client, cause);
    }

    /// Gives the expiring clients tokens that ended `ago_s` seconds ago, and lets them be taken.
    fn let_expire(&mut self, ago_s: u64) {
        let now_ns = self.link().now_ns;
        let started_ns = now_ns - ago_s * 1_000_000_000;
        self.load.let_expire(started_ns, 1.0, 0.0..0.0);
        self.load.on_turn(self.fleet.link());
        for client in [2, 3] {
            self.load.take_replacement(self.fleet.link(), client);
        }
    }
}

#[test]
fn every_end_of_a_client_that_renews_is_a_dropped_session() {
    let mut stage = Stage::set();
    for client in [0, 1, 4] {
        stage.end(client, EXPIRED);
    }
    // One that has not got its last token yet counts too.
    stage.end(2, EndCause::Closed);
    assert_eq!(stage.load.found.dropped, 4);
    assert_eq!(stage.load.found.first_drop, Some(EXPIRED));
}

#[test]
fn an_expired_connection_is_judged_by_its_code_and_its_time() {
    let mut stage = Stage::set();
    stage.let_expire(5);
    assert_eq!(stage.load.not_expired(), 2);
    stage.end(2, EXPIRED);
    stage.end(3, EndCause::Closed);
    let load = &stage.load;
    assert_eq!(
        (load.expired.count(), load.found.expired_wrong_codes),
        (1, 1)
    );
    let late_ms = load.expired.percentile_ms(100.0);
    assert!((5_000.0..6_200.0).contains(&late_ms), "{late_ms}");
    assert_eq!((load.not_expired(), load.found.dropped), (0, 0));
}

#[test]
fn a_connection_that_ends_before_its_token_is_early() {
    let mut stage = Stage::set();
    let now_ns = stage.link().now_ns;
    stage.load.let_expire(now_ns, 60.0, 0.5..1.0);
    stage.load.on_turn(stage.fleet.link());
    for client in [2, 3] {
        stage.load.take_replacement(stage.fleet.link(), client);
        stage.end(client, EXPIRED);
    }
    assert_eq!(stage.load.found.expired_early, 2);
}

#[test]
fn the_canary_asks_until_the_answer_is_the_wanted_one() {
    let mut stage = Stage::set();
    let mut canary = Canary::of(5);
    assert_eq!(canary.on_turn(stage.link()), u64::MAX);
    canary.ask(stage.link(), 1, true);
    assert_eq!(canary.on_turn(stage.link()), u64::MAX);
    assert!(canary.trying_ns.is_some());
    canary.on_end(stage.link(), EXPIRED);
    assert_eq!((canary.took_ms, canary.refusal), (None, Some(EXPIRED)));
    let next_ns = canary.on_turn(stage.link());
    assert!(next_ns > stage.link().now_ns && canary.trying_ns.is_none());
    stage.link().now_ns = next_ns;
    canary.on_turn(stage.link());
    canary.on_live(stage.link());
    assert_eq!(canary.took_ms, Some(100.0));
    // Nobody asks any more.
    stage.link().now_ns += 1_000_000_000;
    assert_eq!(canary.on_turn(stage.link()), u64::MAX);
}

#[test]
fn tokens_say_who_holds_them_and_when_they_end() {
    let stage = Stage::set();
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let until_s = stage.load.until_s(crate::sys::monotonic_ns());
    let life_s = stage.load.life_s;
    assert!((now_s + life_s..=now_s + life_s + 2).contains(&until_s));
    // Services are known by their role.
    let key = SigningKey::make("first").unwrap();
    let signed = |roles: &[&str]| {
        let signer = key.signer(ISSUER).unwrap();
        signer
            .user_until("u1", &Grants::member(roles), until_s)
            .unwrap()
    };
    let length = |client| stage.load.sign(client, 0, until_s).len();
    assert_eq!(length(1), signed(&["service"]).len());
    assert_eq!(length(0), signed(&[]).len());
}
