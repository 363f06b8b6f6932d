//! The fleet against servers of its own process: bytes, WebSocket, and WebSocket inside of TLS.

use super::client::Phase;
use super::schedule::Schedule;
use super::template::Template;
use super::{Fleet, FleetConfig, Greeting, Link};
use crate::bare::exchange::{self, ExchangeConfig};
use crate::bare::Script;
use crate::scenarios::echo_load::{Drive, EchoLoad, Path};
use crate::scenarios::settle::{run_until, Counted};
use interlink_protocol::websocket::handshake::{parse_request, write_accept, HandshakeLimits};
use interlink_uring::{EdgeRing, RingConfig};
use rustls::{ClientConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

const PATIENCE_S: f64 = 20.0;

fn fleet(target: SocketAddr, greeting: Greeting, clients: u32) -> Fleet<EdgeRing> {
    fleet_over(None, target, greeting, clients)
}

fn fleet_over(
    tls: Option<Arc<ClientConfig>>,
    target: SocketAddr,
    greeting: Greeting,
    clients: u32,
) -> Fleet<EdgeRing> {
    let kernel = EdgeRing::new(RingConfig::default()).unwrap();
    let config = FleetConfig {
        targets: vec![target],
        greeting,
        clients,
        unfinished_max: 20,
        sources_from: 0,
        seed: 1,
        tls,
    };
    Fleet::new(kernel, config)
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn connect(fleet: &mut Fleet<EdgeRing>, load: &mut EchoLoad) {
    let clients = fleet.link().clients();
    (0..clients).for_each(|client| fleet.link().connect(client));
    let all = |_: &mut EchoLoad, link: &mut Link| link.live() == clients;
    assert!(
        run_until(fleet, load, PATIENCE_S, all).unwrap(),
        "{:?}",
        load.ends()
    );
}

#[test]
fn every_client_gets_its_bytes_back_from_a_bare_ring() {
    let listen = free_address();
    let script = Script::repeated(136, 132);
    std::thread::spawn(move || exchange::run(ExchangeConfig { listen, script }));
    while TcpStream::connect(listen).is_err() {
        std::thread::yield_now();
    }
    let mut fleet = fleet(listen, Greeting::Bare, 100);
    let mut load = EchoLoad::new(
        Path::Bare {
            bytes_out: 136,
            bytes_back: 132,
        },
        100,
    );
    connect(&mut fleet, &mut load);
    load.begin(fleet.link(), Drive::Closed);
    let enough = |load: &mut EchoLoad, _: &mut Link| load.done >= 3_000;
    assert!(run_until(&mut fleet, &mut load, PATIENCE_S, enough).unwrap());
    let totals = fleet.link().totals;
    assert!(totals.received_bytes >= 3_000 * 132 && totals.sent_bytes >= 3_000 * 136);
    assert_eq!(load.ends().count, 0);
}

/// Accepts connections and echoes messages in pieces of a few bytes, so that the fleet sees cut
/// frames. A message of the load has a four-byte length header and the mask.
fn serve_in_pieces(listener: TcpListener) {
    for stream in listener.incoming().map_while(Result::ok) {
        stream.set_nodelay(true).unwrap();
        std::thread::spawn(move || echo_in_pieces(stream));
    }
}

fn echo_in_pieces(mut stream: impl Read + Write) -> std::io::Result<()> {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    let mut is_open = false;
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        received.extend_from_slice(&piece[..count]);
        if !is_open {
            let parsed = parse_request(&received, &HandshakeLimits::default()).unwrap();
            let Some((head, request)) = parsed else {
                continue;
            };
            let mut answer = Vec::new();
            write_accept(&request, None, &mut answer);
            received.drain(..head);
            is_open = true;
            stream.write_all(&answer)?;
        }
        use interlink_protocol::websocket::frame::{append_server_frame, find_whole, Opcode, Role};
        while let Some(whole) = find_whole(&received, Role::Server, 65_536) {
            let mut payload = received[whole.payload_start..whole.payload_end].to_vec();
            interlink_protocol::websocket::mask::apply(&mut payload, whole.key);
            received.drain(..whole.payload_end);
            let mut answer = Vec::new();
            append_server_frame(Opcode::Data(whole.kind), true, &payload, &mut answer);
            for part in answer.chunks(61) {
                stream.write_all(part)?;
            }
        }
    }
}

#[test]
fn cut_frames_are_put_together_and_every_stamp_matches() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || serve_in_pieces(listener));
    let mut fleet = fleet(address, Greeting::WebSocket, 8);
    let mut load = EchoLoad::new(Path::Codec(Template::message(300)), 8);
    connect(&mut fleet, &mut load);
    load.begin(fleet.link(), Drive::Closed);
    let enough = |load: &mut EchoLoad, _: &mut Link| load.done >= 400;
    assert!(run_until(&mut fleet, &mut load, PATIENCE_S, enough).unwrap());
    assert_eq!((load.wrong, load.ends().count), (0, 0));
}

#[test]
fn messages_inside_of_tls_come_back_whole_and_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = super::tls::tests::Served::make();
    let config = Arc::clone(&served.server);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_nodelay(true).unwrap();
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || echo_in_pieces(StreamOwned::new(session, stream)));
        }
    });
    let client = served.client(0);
    let mut fleet = fleet_over(Some(client), address, Greeting::WebSocket, 8);
    let mut load = EchoLoad::new(Path::Codec(Template::message(300)), 8);
    connect(&mut fleet, &mut load);
    load.begin(fleet.link(), Drive::Closed);
    let enough = |load: &mut EchoLoad, _: &mut Link| load.done >= 400;
    assert!(run_until(&mut fleet, &mut load, PATIENCE_S, enough).unwrap());
    assert_eq!((load.wrong, load.ends().count), (0, 0));
    // Records are longer than what is in them.
    let totals = fleet.link().totals;
    assert!(totals.received_bytes > 400 * (300 + 4 + 5 + 16));
}

#[test]
fn a_server_whose_certificate_is_not_of_the_run_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stranger = super::tls::tests::Served::make();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut session = ServerConnection::new(Arc::clone(&stranger.server)).unwrap();
            // The client ends it.
            let _ = session.complete_io(&mut stream);
        }
    });
    let client = super::tls::tests::Served::make().client(0);
    let mut fleet = fleet_over(Some(client), address, Greeting::WebSocket, 1);
    let mut load = EchoLoad::new(Path::Codec(Template::message(100)), 1);
    fleet.link().connect(0);
    let ended = |load: &mut EchoLoad, _: &mut Link| load.ends().count > 0;
    assert!(run_until(&mut fleet, &mut load, PATIENCE_S, ended).unwrap());
    let cause = load.ends().first.unwrap();
    assert!(
        matches!(cause, super::EndCause::Protocol(what) if what.contains("certificate")),
        "{cause:?}"
    );
}

#[test]
fn a_schedule_is_kept_and_its_latency_counts_from_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || serve_in_pieces(listener));
    let mut fleet = fleet(address, Greeting::WebSocket, 2);
    let mut load = EchoLoad::new(Path::Codec(Template::message(100)), 2);
    connect(&mut fleet, &mut load);
    // A second of events is due already: all are sent, and each counts from its own time.
    let started_ns = crate::sys::monotonic_ns() - 1_000_000_000;
    load.begin(fleet.link(), Drive::Open(Schedule::new(started_ns, 100.0)));
    let enough = |load: &mut EchoLoad, _: &mut Link| load.done >= 100;
    assert!(run_until(&mut fleet, &mut load, PATIENCE_S, enough).unwrap());
    assert!(load.latency.percentile_ms(100.0) >= 990.0);
}

#[test]
fn a_refused_connection_is_reported_and_its_client_is_idle_again() {
    let mut fleet = fleet(free_address(), Greeting::WebSocket, 1);
    let mut load = EchoLoad::new(Path::Codec(Template::message(100)), 1);
    fleet.link().connect(0);
    let ended = |load: &mut EchoLoad, link: &mut Link| load.ends().count > 0 && link.open() == 0;
    assert!(run_until(&mut fleet, &mut load, PATIENCE_S, ended).unwrap());
    assert_eq!(fleet.link().clients[0].phase, Phase::Idle);
}

#[test]
fn many_clients_that_end_at_once_all_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Each connection is closed as soon as it is open, so that slots are used again at once.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    struct Returning(u32);
    impl super::Workload for Returning {
        fn on_turn(&mut self, _: &mut Link) -> u64 {
            u64::MAX
        }
        fn on_end(&mut self, link: &mut Link, client: u32, _: super::EndCause) {
            self.0 += 1;
            link.connect(client);
        }
    }
    let mut fleet = fleet(address, Greeting::Bare, 150);
    let mut load = Returning(0);
    (0..150).for_each(|client| fleet.link().connect(client));
    let enough = |load: &mut Returning, _: &mut Link| load.0 >= 3_000;
    assert!(
        run_until(&mut fleet, &mut load, PATIENCE_S, enough).unwrap(),
        "{}",
        load.0
    );
    let phases = fleet.link().phases();
    assert!(run_until(&mut fleet, &mut load, PATIENCE_S, |load, _| load.0 >= 6_000).unwrap());
    assert!(!phases.starts_with("150 closing"), "{phases}");
}
