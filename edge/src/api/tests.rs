//! The bounds of the API over real sockets: slow heads and bodies, places, times, sizes.
//!
//! The API runs on a thread of its own, with small bounds, before shards that answer nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{oneshot, watch};

use super::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, ROOM_UNITS, ROOM_UNIT_BYTES};
use super::{Api, ApiCounts, ApiPlan, Bounds, Callers};
use crate::auth::{mint_user, Keeper, KeeperPlan, Key, SourceTimes, UserGrant};
use crate::gateway::GatewayTask;
use crate::lanes;
use crate::server::{unix_seconds, NodeState, Phase};
use crate::telemetry::exposition::Exposition;

/// How long anything may take that normally takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// A bound that tests wait for.
const SHORT: Duration = Duration::from_millis(300);

/// An API that is served.
struct Running {
    address: SocketAddr,
    token: String,
    counts: Arc<ApiCounts>,
    close: watch::Sender<bool>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

/// What tokens are checked with, and the token of a service.
fn identities(directory: &Path) -> (Keeper, String) {
    let file = directory.join("key");
    let (key, _) = Key::read_or_create(&file).expect("a key");
    let hour = Duration::from_secs(3_600);
    let keeper = Keeper::open(KeeperPlan {
        issuer: "school".to_owned(),
        audience: "interlink".to_owned(),
        key_files: vec![file],
        sources: Vec::new(),
        times: SourceTimes {
            refresh: hour,
            cooldown: hour,
            keep: hour,
        },
        revocation_file: None,
        own_list: directory.join("revocations"),
    });
    let now_s = unix_seconds();
    let grant = UserGrant {
        user: "reports".to_owned(),
        issuer: "school".to_owned(),
        audience: "interlink".to_owned(),
        roles: vec!["service".to_owned()],
        issued_at_s: now_s,
        not_before_s: now_s,
        expires_at_s: now_s + 3_600,
        ..UserGrant::default()
    };
    let token = mint_user(&key, &grant).expect("signed");
    (keeper.expect("a key"), token)
}

impl Running {
    fn start(bounds: Bounds) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (keeper, token) = identities(directory.path());
        let node = Arc::new(NodeState::default());
        node.advance(Phase::Ready);
        let port = lanes::mesh(2).expect("lanes").pop().expect("a port");
        let namespaces = Arc::new(interlink_protocol::namespace::Namespaces::defaults());
        let (gateway, task) = GatewayTask::open(port, 1, namespaces, node).expect("opened");
        let api = Api::open(ApiPlan {
            address: "127.0.0.1:0".parse().expect("an address"),
            socket: None,
            callers: Callers {
                verifier: keeper.verifier(),
                revocations: keeper.revocations(),
            },
            tls: None,
            gateway,
            revoker: keeper.revoker(),
            bounds,
        });
        let api = api.expect("a free port");
        let address = api.address().expect("an address");
        let counts = api.counts();
        let (close, closed) = watch::channel(false);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            // What is asked waits in the task's queue, which nobody empties.
            let _waits = (task, keeper);
            runtime.block_on(async {
                tokio::select! {
                    ended = api.serve(closed) => ended.expect("it serves"),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            token,
            counts,
            close,
            stop: Some(stop),
            thread: Some(thread),
            _directory: directory,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    /// Connections that the API has.
    fn connections(&self) -> u64 {
        let mut exposition = Exposition::default();
        self.counts.expose(&mut exposition);
        let text = exposition.finish();
        let lines = text.lines();
        let mut values =
            lines.filter_map(|line| line.strip_prefix("interlink_edge_api_connections_open "));
        let value = values.next().and_then(|value| value.parse().ok());
        value.expect("a number")
    }

    /// A head that is whole but for its last line.
    fn head(&self, path: &str) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n",
            self.token
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))));
        }
    }
}

/// Status and body of the next answer on a connection.
fn answer(stream: &mut TcpStream) -> (u16, Vec<u8>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).expect("the whole answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body)
}

fn refusal(stream: &mut TcpStream) -> (u16, String) {
    let (status, body) = answer(stream);
    let body: Value = serde_json::from_slice(&body).expect("a refusal is JSON");
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn description(stream: &mut TcpStream) -> u16 {
    write!(stream, "GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    answer(stream).0
}

fn description_bytes(stream: &mut TcpStream) -> usize {
    write!(stream, "GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    answer(stream).1.len()
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::yield_now();
    }
}

/// Reads to the end, sending a byte whenever nothing has come for a moment.
fn drip(stream: &mut TcpStream) -> Vec<u8> {
    let moment = Some(Duration::from_millis(10));
    stream.set_read_timeout(moment).expect("a socket");
    let mut found = Vec::new();
    let mut room = [0; 1_024];
    loop {
        match stream.read(&mut room) {
            Ok(0) => return found,
            Ok(count) => found.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // A server that has closed answers with a reset, which the next read shows.
                let _ = stream.write_all(b"x");
            }
            Err(_) => return found,
        }
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_ends_in_time_and_holds_up_nobody() {
    let api = Running::start(Bounds {
        head_timeout: SHORT,
        ..Bounds::default()
    });
    let mut slow = api.connect();
    write!(slow, "{}X-Slow: ", api.head("/v1/publish")).expect("sent");
    assert_eq!(description(&mut api.connect()), 200);
    let found = drip(&mut slow);
    assert!(!found.starts_with(b"HTTP/1.1 2"), "{found:?}");
    assert_eq!(description(&mut api.connect()), 200);
}

#[test]
fn a_connection_that_is_idle_for_too_long_ends() {
    let api = Running::start(Bounds {
        head_timeout: SHORT,
        ..Bounds::default()
    });
    let mut stream = api.connect();
    assert_eq!(description(&mut stream), 200);
    assert_eq!(description(&mut stream), 200, "it is kept open");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let api = Running::start(Bounds::default());
    let mut stream = api.connect();
    let long = "x".repeat(HEAD_BYTES_MAX);
    let _ = write!(stream, "{}X-Long: {long}\r\n\r\n", api.head("/v1/publish"));
    assert_eq!(answer(&mut stream).0, 431);
}

#[test]
fn connections_beyond_the_bound_wait_until_one_ends() {
    let api = Running::start(Bounds {
        connections: 2,
        ..Bounds::default()
    });
    let (mut first, mut second) = (api.connect(), api.connect());
    assert_eq!(description(&mut first), 200);
    assert_eq!(description(&mut second), 200);
    let mut third = api.connect();
    write!(third, "GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    // The others are served meanwhile.
    assert_eq!(description(&mut second), 200);
    third.set_nonblocking(true).expect("a socket");
    let nothing = third.read(&mut [0]).expect_err("it has no place");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    third.set_nonblocking(false).expect("a socket");
    drop(first);
    assert_eq!(answer(&mut third).0, 200);
}

#[test]
fn a_body_that_does_not_come_and_shards_that_do_not_answer_end_in_time() {
    let api = Running::start(Bounds {
        request_timeout: SHORT,
        ..Bounds::default()
    });
    let mut without_body = api.connect();
    let head = api.head("/v1/publish");
    write!(without_body, "{head}Content-Length: 100\r\n\r\n{{").expect("sent");
    let mut unanswered = api.connect();
    let event = r#"{"channel": "report.north.day", "json": 1}"#;
    let length = event.len();
    write!(unanswered, "{head}Content-Length: {length}\r\n\r\n{event}").expect("sent");
    let mut unanswered_order = api.connect();
    let head = api.head("/v1/disconnect");
    let order = r#"{"user": "ada"}"#;
    let length = order.len();
    write!(
        unanswered_order,
        "{head}Content-Length: {length}\r\n\r\n{order}"
    )
    .expect("sent");
    for stream in [&mut without_body, &mut unanswered, &mut unanswered_order] {
        assert_eq!(refusal(stream), (503, "unavailable".to_owned()));
    }
    assert_eq!(description(&mut api.connect()), 200);
}

#[test]
fn a_body_beyond_the_bound_is_refused_with_and_without_a_length() {
    let api = Running::start(Bounds::default());
    let mut named = api.connect();
    let length = BODY_BYTES_MAX + 1;
    let head = api.head("/v1/publish");
    write!(named, "{head}Content-Length: {length}\r\n\r\n").expect("sent");
    let too_large = (413, "frame_too_large".to_owned());
    assert_eq!(refusal(&mut named), too_large);
    let mut chunked = api.connect();
    write!(chunked, "{head}Transfer-Encoding: chunked\r\n\r\n").expect("sent");
    let chunk = [b' '; 64 << 10];
    for _ in 0..BODY_BYTES_MAX / chunk.len() + 1 {
        // The server answers as soon as it is too much, and reads no further.
        let sent = write!(chunked, "{:x}\r\n", chunk.len())
            .and_then(|()| chunked.write_all(&chunk))
            .and_then(|()| chunked.write_all(b"\r\n"));
        if sent.is_err() {
            break;
        }
    }
    assert_eq!(refusal(&mut chunked), too_large);
}

#[test]
fn bodies_beyond_the_room_for_all_are_refused_until_some_have_ended() {
    let api = Running::start(Bounds::default());
    let head = api.head("/v1/publish");
    let fit = ROOM_UNITS * ROOM_UNIT_BYTES / BODY_BYTES_MAX;
    let mut open: Vec<TcpStream> = (0..fit)
        .map(|_| {
            let mut stream = api.connect();
            write!(stream, "{head}Expect: 100-continue\r\n").expect("sent");
            write!(stream, "Content-Length: {BODY_BYTES_MAX}\r\n\r\n").expect("sent");
            // The body is asked for, so the request has its room.
            assert_eq!(answer(&mut stream).0, 100);
            stream
        })
        .collect();
    let mut one_more = api.connect();
    write!(one_more, "{head}Content-Length: 2\r\n\r\n{{}}").expect("sent");
    assert_eq!(refusal(&mut one_more), (429, "overloaded".to_owned()));
    drop(open.pop());
    loop {
        let mut stream = api.connect();
        write!(stream, "{head}Content-Length: 2\r\n\r\n{{}}").expect("sent");
        let (status, code) = refusal(&mut stream);
        if (status, code.as_str()) == (400, "invalid_request") {
            break;
        }
        assert_eq!(status, 429);
    }
}

#[test]
fn a_caller_that_does_not_read_is_ended() {
    let api = Running::start(Bounds {
        request_timeout: SHORT,
        ..Bounds::default()
    });
    let mut deaf = api.connect();
    // More than all buffers between the two hold.
    let one = description_bytes(&mut api.connect());
    let count = (64 << 20) / one;
    for _ in 0..count {
        let request = "GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
        // The server reads no further while it cannot write.
        if deaf.write_all(request.as_bytes()).is_err() {
            break;
        }
    }
    wait_for(|| api.connections() == 0);
    let mut found = Vec::new();
    let _ = deaf.read_to_end(&mut found);
    assert!(found.len() < count * one, "it got {} bytes", found.len());
    assert_eq!(description(&mut api.connect()), 200);
}

#[test]
fn a_closed_api_answers_what_it_has_and_takes_nothing_more() {
    let api = Running::start(Bounds::default());
    let mut idle = api.connect();
    assert_eq!(description(&mut idle), 200);
    let mut busy = api.connect();
    let head = api.head("/v1/publish");
    write!(
        busy,
        "{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    .expect("sent");
    assert_eq!(answer(&mut busy).0, 100, "the request is being taken");
    api.close.send_replace(true);
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest);
    assert!(rest.is_empty(), "an idle connection is let go: {rest:?}");
    busy.write_all(b"{}").expect("sent");
    assert_eq!(refusal(&mut busy), (400, "invalid_request".to_owned()));
    assert_eq!(busy.read(&mut [0]).expect("an end"), 0);
    let refused = TcpStream::connect(api.address).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
