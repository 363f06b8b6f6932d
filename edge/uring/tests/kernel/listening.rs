//! Listeners: inherited options, shared ports, and the check that a port is free.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use interlink_uring::listener::{
    bind_reuse_port, check_port, ListenerError, ListenerOptions, NOT_SENT_LOW_WATER_BYTES,
    SOCKET_BUFFER_BYTES,
};
use interlink_uring::{Event, Kernel};

use crate::support::{edge, small, PATIENCE};

/// A port of its own for each call; the other tests of this crate stay below 7180.
fn free(ip: IpAddr) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(7180);
    SocketAddr::from((ip, NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// A loopback address of this process, so that a second run of the tests does not meet the first.
fn own() -> IpAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + a % 100, b, c.max(1)).into()
}

fn option(socket: &OwnedFd, level: i32, name: i32) -> i32 {
    let mut value = 0_i32;
    let mut length = std::mem::size_of::<i32>() as libc::socklen_t;
    // SAFETY: value and length live through the call and belong together.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &mut length,
        )
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    value
}

#[test]
fn an_accepted_connection_has_inherited_every_option() {
    for ip in [own(), Ipv6Addr::LOCALHOST.into()] {
        let address = free(ip);
        let options = ListenerOptions {
            write_timeout: Duration::from_millis(7_500),
            keepalive_after: Duration::from_secs(40),
            ..ListenerOptions::default()
        };
        let mut edge = edge(small());
        let listener = bind_reuse_port(address, &options).expect("a free port");
        let number = edge.add_listener(listener);
        edge.accept(number, 1);
        let _client = TcpStream::connect(address).expect("the backlog takes it");
        let started = Instant::now();
        let accepted = loop {
            edge.enter().expect("the ring takes entries");
            if let Some(Event::Accepted { descriptor, .. }) = edge.next_event() {
                break descriptor;
            }
            assert!(started.elapsed() < PATIENCE);
        };
        let (socket, tcp) = (libc::SOL_SOCKET, libc::IPPROTO_TCP);
        assert_eq!(option(&accepted, tcp, libc::TCP_NODELAY), 1);
        assert_eq!(option(&accepted, tcp, libc::TCP_USER_TIMEOUT), 7_500);
        assert_eq!(
            option(&accepted, tcp, libc::TCP_NOTSENT_LOWAT),
            NOT_SENT_LOW_WATER_BYTES
        );
        assert_eq!(option(&accepted, socket, libc::SO_KEEPALIVE), 1);
        assert_eq!(option(&accepted, tcp, libc::TCP_KEEPIDLE), 40);
        assert_eq!(option(&accepted, tcp, libc::TCP_KEEPINTVL), 10);
        assert_eq!(option(&accepted, tcp, libc::TCP_KEEPCNT), 3);
        // Linux reports twice the value that was set.
        assert_eq!(
            option(&accepted, socket, libc::SO_SNDBUF),
            2 * SOCKET_BUFFER_BYTES
        );
        assert_eq!(
            option(&accepted, socket, libc::SO_RCVBUF),
            2 * SOCKET_BUFFER_BYTES
        );
    }
}

#[test]
fn several_shards_share_a_port_that_a_second_instance_is_refused() {
    let address = free(own());
    check_port(address).expect("nobody listens yet");
    let options = ListenerOptions::default();
    let shards: Vec<_> = (0..3)
        .map(|_| bind_reuse_port(address, &options).expect("shared"))
        .collect();
    let started = Instant::now();
    let refused = check_port(address).expect_err("three listeners are there");
    assert!(matches!(refused, ListenerError::InUse { .. }), "{refused}");
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "it must have been tried again"
    );
    let text = refused.to_string();
    assert!(
        text.contains(&address.to_string()) && text.contains("ss -ltnp"),
        "{text}"
    );
    drop(shards);
    check_port(address).expect("nobody listens any more");
}

#[test]
fn a_port_that_comes_free_within_two_seconds_is_taken() {
    let address = free(own());
    let old = bind_reuse_port(address, &ListenerOptions::default()).expect("a free port");
    // Connections that outlive the old listener do not matter.
    let _client = TcpStream::connect(address).expect("the backlog takes it");
    let checker = std::thread::spawn(move || check_port(address));
    // The listener goes away while the other thread tries; how far it came does not matter.
    std::thread::yield_now();
    drop(old);
    checker
        .join()
        .expect("no panic")
        .expect("the port came free");
}

#[test]
fn a_listener_that_was_let_go_takes_nobody_and_frees_its_port() {
    let address = free(own());
    let mut edge = edge(small());
    let listener = bind_reuse_port(address, &ListenerOptions::default()).expect("a free port");
    let number = edge.add_listener(listener);
    edge.accept(number, 4);
    edge.enter().expect("the ring takes entries");
    edge.close_listener(number);
    edge.accept(number, 4);
    let started = Instant::now();
    // The accepts that were armed hold the socket until they have ended.
    while TcpStream::connect(address).is_ok() {
        edge.enter().expect("the ring takes entries");
        while edge.next_event().is_some() {}
        assert!(started.elapsed() < PATIENCE);
    }
    check_port(address).expect("nobody listens any more");
}

#[test]
fn an_address_of_another_host_is_refused_with_the_cure() {
    let address = SocketAddr::from(([192, 0, 2, 1], 7100));
    let refused = check_port(address).expect_err("a documentation address");
    assert!(
        matches!(refused, ListenerError::Refused { .. }),
        "{refused}"
    );
    let refused = bind_reuse_port(address, &ListenerOptions::default());
    assert!(matches!(refused, Err(ListenerError::Refused { .. })));
}
