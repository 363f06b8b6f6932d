//! The endpoint over real sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use super::*;
use crate::auth::{KeeperPlan, SourceTimes};
use crate::server::Phase;
use crate::telemetry::Counters;

fn keepers() -> Keepers {
    let hour = std::time::Duration::from_secs(3_600);
    let plan = KeeperPlan {
        issuer: "school".to_owned(),
        audience: "interlink".to_owned(),
        key_files: Vec::new(),
        sources: Vec::new(),
        times: SourceTimes {
            refresh: hour,
            cooldown: hour,
            keep: hour,
        },
        revocation_file: None,
        own_list: std::path::PathBuf::new(),
    };
    let keys = Keeper::open(plan).expect("nothing to read");
    Keepers { keys, tls: None }
}

/// A gateway to one shard that nobody runs.
fn gateway(node: &Arc<NodeState>) -> (Gateway, GatewayTask) {
    let port = crate::lanes::mesh(2).expect("lanes").pop().expect("a port");
    let namespaces = Arc::new(interlink_protocol::namespace::Namespaces::defaults());
    GatewayTask::open(port, 1, namespaces, Arc::clone(node)).expect("opened")
}

/// An API that has a port and nobody to ask.
fn api(gateway: &Gateway) -> Api {
    let keys = keepers().keys;
    let plan = crate::api::ApiPlan {
        address: "127.0.0.1:0".parse().expect("address"),
        socket: None,
        callers: crate::api::Callers {
            verifier: keys.verifier(),
            revocations: keys.revocations(),
        },
        tls: None,
        gateway: gateway.clone(),
        revoker: keys.revoker(),
        bounds: crate::api::Bounds::default(),
    };
    Api::open(plan).expect("a free port")
}

/// A control thread with a gateway and an API of its own.
fn started_on(
    address: SocketAddr,
    state: ControlState,
    events: Sender<NodeEvent>,
) -> Result<Control, ControlError> {
    let gateway = gateway(&Arc::default());
    let api = api(&gateway.0);
    Control::start(address, state, keepers(), gateway, (api, events))
}

struct Running {
    control: Option<Control>,
    node: Arc<NodeState>,
    counters: Arc<ShardCounters>,
}

fn start() -> Running {
    start_at("127.0.0.1:0", None)
}

fn start_at(address: &str, guard: Option<guard::Guard>) -> Running {
    let node = Arc::new(NodeState::default());
    let counters = Arc::new(ShardCounters::default());
    let state = ControlState::new(vec![Arc::clone(&counters)], Arc::clone(&node), 4_096);
    let state = state.guarded(guard);
    let (events, _) = mpsc::channel();
    let address = address.parse().expect("address");
    let gateway = gateway(&node);
    let api = api(&gateway.0);
    let control =
        Control::start(address, state, keepers(), gateway, (api, events)).expect("started");
    Running {
        control: Some(control),
        node,
        counters,
    }
}

impl Running {
    fn get(&self, path: &str) -> String {
        self.ask(path, "")
    }

    fn ask(&self, path: &str, lines: &str) -> String {
        let mut address = self.control.as_ref().expect("running").address();
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        let mut stream = TcpStream::connect(address).expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.stop();
        }
    }
}

#[test]
fn readiness_follows_the_phase() {
    let running = start();
    for (phase, status) in [
        (Phase::Starting, "503"),
        (Phase::Recovering, "503"),
        (Phase::Ready, "200"),
        (Phase::Draining, "503"),
    ] {
        running.node.advance(phase);
        let answer = running.get("/readyz");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(answer.ends_with(&format!("{}\n", phase.word())), "{answer}");
    }
}

#[test]
fn liveness_needs_turns_while_ready() {
    let state = ControlState::new(vec![Arc::default()], Arc::default(), 0);
    let later = Instant::now() + pulse::STILL;
    assert_eq!(state.observe(later), [0]);
    state.counters[0].publish(&Counters {
        turns: 1,
        ..Counters::default()
    });
    assert!(state.observe(later).is_empty());

    let running = start();
    running.node.advance(Phase::Ready);
    assert!(running.get("/livez").starts_with("HTTP/1.1 200"));
}

#[test]
fn metrics_show_shards_process_and_phase() {
    let running = start();
    running.counters.publish(&Counters {
        turns: 42,
        ..Counters::default()
    });
    let answer = running.get("/metrics");
    for part in [
        "content-type: text/plain; version=0.0.4",
        "interlink_edge_turns_total{shard=\"0\"} 42",
        "interlink_edge_phase{phase=\"starting\"} 1",
        "interlink_edge_memory_plan_bytes 4096",
        "process_resident_memory_bytes ",
    ] {
        assert!(answer.contains(part), "{part} is missing");
    }
}

#[test]
fn other_paths_and_methods_are_refused() {
    let running = start();
    assert!(running.get("/").starts_with("HTTP/1.1 404"));
    assert!(running.get("/metrics/../etc").starts_with("HTTP/1.1 404"));
}

#[test]
fn addresses_beyond_loopback_are_refused_with_a_cure() {
    let state = ControlState::new(Vec::new(), Arc::default(), 0);
    let (events, _) = mpsc::channel();
    let address = "0.0.0.0:0".parse().expect("address");
    let error = started_on(address, state, events)
        .expect_err("refused")
        .to_string();
    assert!(error.contains("127.0.0.1"), "{error}");
}

#[test]
fn an_address_in_use_names_the_argument() {
    let running = start();
    let address = running.control.as_ref().expect("running").address();
    let state = ControlState::new(Vec::new(), Arc::default(), 0);
    let (events, _) = mpsc::channel();
    let error = started_on(address, state, events)
        .expect_err("in use")
        .to_string();
    assert!(error.contains("--control"), "{error}");
}

#[test]
fn a_guarded_endpoint_answers_only_who_names_the_token() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("token");
    std::fs::write(&path, TOKEN).expect("a file can be written");
    let guard = guard::Guard::open(&path).expect("a token");
    let running = start_at("0.0.0.0:0", Some(guard));
    for path in ["/metrics", "/livez", "/readyz"] {
        let answer = running.get(path);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
    }
    let wrong = running.ask("/metrics", "Authorization: Bearer guessed\r\n");
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    let right = running.ask("/metrics", &format!("Authorization: Bearer {TOKEN}\r\n"));
    assert!(right.starts_with("HTTP/1.1 200"), "{right}");
    assert!(
        right.contains("interlink_edge_control_refused_total 4"),
        "{right}"
    );
}
