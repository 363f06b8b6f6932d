use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;
#[derive(Debug, Clone)]
pub struct ListenerOptions { pub backlog: i32, pub user_timeout: Duration }
impl Default for ListenerOptions { fn default() -> Self { Self { backlog: 4096, user_timeout: Duration::from_secs(30) } } }
pub fn probe_free(_a: SocketAddr) -> std::io::Result<()> { Ok(()) }
pub fn bind_reuse_port(a: SocketAddr, o: &ListenerOptions) -> std::io::Result<OwnedFd> {
    let s = socket2::Socket::new(socket2::Domain::for_address(a), socket2::Type::STREAM, None)?;
    s.set_reuse_address(true)?; s.set_reuse_port(true)?; s.set_tcp_nodelay(true)?;
    s.set_send_buffer_size(64 * 1024)?; s.set_recv_buffer_size(64 * 1024)?;
    s.bind(&a.into())?; s.listen(o.backlog)?;
    Ok(s.into())
}
