//! The proxy between real sockets.

use super::*;
use std::future::Future;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Long enough for anything that happens at all, short enough to wait for what does not.
const SILENCE: Duration = Duration::from_millis(150);

/// A proxy in front of a server whose connections the test holds.
struct Stage {
    proxy: Proxy,
    server: TcpListener,
}

impl Stage {
    async fn set() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = TcpListener::bind(any).await.unwrap();
        let target = server.local_addr().unwrap();
        let proxy = Proxy::start(any, target).await.unwrap();
        Self { proxy, server }
    }

    /// A connection, seen from client and server.
    async fn pair(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.proxy.address);
        let (client, server) = tokio::join!(client, self.server.accept());
        (client.unwrap(), server.unwrap().0)
    }
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).await.unwrap();
    let mut bytes = vec![0; text.len()];
    to.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, text.as_bytes());
}

async fn is_silent<T>(what: impl Future<Output = T>) -> bool {
    tokio::time::timeout(SILENCE, what).await.is_err()
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    let end = stream.read(&mut [0; 16]).await;
    end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn bytes_pass_both_ways_and_so_does_the_end() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.pair().await;
    let long = "0123456789".repeat(100_000);
    let (mut from, mut to) = (client, server);
    let sent = long.clone();
    let writer = tokio::spawn(async move {
        from.write_all(sent.as_bytes()).await.unwrap();
        from
    });
    let mut bytes = vec![0; long.len()];
    to.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, long.as_bytes());
    (client, server) = (writer.await.unwrap(), to);
    passes(&mut server, &mut client, "back").await;
    drop(client);
    assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stall_holds_bytes_and_new_connections_and_loses_nothing() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.pair().await;
    passes(&mut client, &mut server, "before").await;
    stage.proxy.set(Fault::all(Kind::Stall));
    client.write_all(b"during").await.unwrap();
    assert!(is_silent(server.read(&mut [0; 16])).await);
    let waiting = TcpStream::connect(stage.proxy.address).await.unwrap();
    assert!(is_silent(stage.server.accept()).await);
    stage.proxy.set(Fault::NONE);
    let mut bytes = [0; 6];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"during");
    stage.server.accept().await.unwrap();
    drop(waiting);
}

#[tokio::test]
async fn a_fault_of_open_connections_leaves_new_ones_alone() {
    let stage = Stage::set().await;
    let (mut old, mut old_server) = stage.pair().await;
    passes(&mut old, &mut old_server, "before").await;
    stage.proxy.set("stall open".parse().unwrap());
    old.write_all(b"x").await.unwrap();
    assert!(is_silent(old_server.read(&mut [0; 16])).await);
    let (mut new, mut new_server) = stage.pair().await;
    passes(&mut new, &mut new_server, "after").await;
}

#[tokio::test]
async fn subscribers_alone_are_stalled() {
    let stage = Stage::set().await;
    let (mut caller, mut caller_server) = stage.pair().await;
    let (mut subscriber, mut subscriber_server) = stage.pair().await;
    let subscribe = "*2\r\n$10\r\nssubscribe\r\n$1\r\nx\r\n";
    passes(&mut subscriber, &mut subscriber_server, subscribe).await;
    passes(&mut caller, &mut caller_server, "PING\r\n").await;
    stage.proxy.set("stall subscribers".parse().unwrap());
    subscriber_server.write_all(b"event").await.unwrap();
    assert!(is_silent(subscriber.read(&mut [0; 16])).await);
    passes(&mut caller, &mut caller_server, "PING\r\n").await;
}

#[tokio::test]
async fn a_reset_ends_open_connections_and_refuses_new_ones_until_it_heals() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.pair().await;
    passes(&mut client, &mut server, "before").await;
    stage.proxy.set(Fault::all(Kind::Reset));
    assert!(is_reset(&mut client).await && is_reset(&mut server).await);
    let mut refused = TcpStream::connect(stage.proxy.address).await.unwrap();
    assert!(is_reset(&mut refused).await);
    stage.proxy.set(Fault::NONE);
    let (mut client, mut server) = stage.pair().await;
    passes(&mut client, &mut server, "after").await;
}

#[tokio::test]
async fn dropped_bytes_never_come_and_their_connection_is_reset_when_the_fault_ends() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.pair().await;
    passes(&mut client, &mut server, "before").await;
    stage.proxy.set(Fault::all(Kind::Drop));
    client.write_all(b"lost").await.unwrap();
    assert!(is_silent(server.read(&mut [0; 16])).await);
    stage.proxy.set(Fault::NONE);
    assert!(is_reset(&mut client).await && is_reset(&mut server).await);
}

#[tokio::test]
async fn a_half_open_connection_ends_at_the_server_alone() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.pair().await;
    passes(&mut client, &mut server, "before").await;
    stage.proxy.set(Fault::all(Kind::HalfOpen));
    assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
    client.write_all(b"into nothing").await.unwrap();
    assert!(is_silent(client.read(&mut [0; 16])).await);
    stage.proxy.set(Fault::NONE);
    assert!(is_reset(&mut client).await);
}

#[tokio::test]
async fn delayed_bytes_keep_their_order_also_when_the_delay_shrinks() {
    let stage = Stage::set().await;
    let (mut client, mut server) = stage.pair().await;
    stage.proxy.set(Fault::all(Kind::Delay(SILENCE * 4)));
    client.write_all(b"one").await.unwrap();
    assert!(is_silent(server.read(&mut [0; 16])).await);
    stage
        .proxy
        .set(Fault::all(Kind::Delay(Duration::from_millis(1))));
    client.write_all(b"two").await.unwrap();
    let mut bytes = [0; 6];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"onetwo");
}

#[tokio::test]
async fn a_target_that_refuses_is_a_refusal_of_the_proxy() {
    let stage = Stage::set().await;
    let Stage { proxy, server } = stage;
    drop(server);
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    assert!(is_reset(&mut client).await);
    assert_eq!(proxy.taken(), 1);
}
