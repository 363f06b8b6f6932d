//! An echo server on the plain driver: the least that an `EdgeRing` needs to serve.
//!
//! `cargo run --release -p interlink-uring --example echo -- 7101` echoes what each client sends
//! on port 7101. Beside a bare io_uring loop it shows what this crate costs.

use std::error::Error;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use interlink_uring::driver::{run, Next, Turn};
use interlink_uring::limits::{ACCEPTS_ARMED_MAX, SEND_BATCH};
use interlink_uring::listener::{bind_reuse_port, check_port, ListenerOptions};
use interlink_uring::{
    EdgeRing, Event, Kernel, RingConfig, RingGroup, Send, SendOutcome, SendTarget, SocketId,
};

/// Clients whose socket takes no more are closed: an example keeps no outbox.
#[derive(Default)]
struct Echo {
    accepted: Vec<OwnedFd>,
    installed: Vec<Result<SocketId, i32>>,
    echoes: Vec<u8>,
    parts: Vec<(SocketId, usize)>,
    outcomes: Vec<SendOutcome>,
}

impl Echo {
    fn install(&mut self, kernel: &mut impl Kernel) {
        while !self.accepted.is_empty() {
            kernel.install(RingGroup::Common, &mut self.accepted, &mut self.installed);
            for socket in self.installed.iter().flatten() {
                kernel.arm_receive(*socket);
            }
        }
    }

    fn flush(&mut self, kernel: &mut impl Kernel) {
        let nothing = Send {
            target: SendTarget::Socket(SocketId::NONE),
            bytes: &[],
        };
        let mut batch = [nothing; SEND_BATCH];
        let mut start = 0;
        for (send, (socket, len)) in batch.iter_mut().zip(&self.parts) {
            let bytes = &self.echoes[start..start + len];
            *send = Send {
                target: SendTarget::Socket(*socket),
                bytes,
            };
            start += len;
        }
        kernel.send(&batch[..self.parts.len()], &mut self.outcomes);
        for (outcome, (socket, _)) in self.outcomes.iter().zip(&self.parts) {
            if *outcome != SendOutcome::Sent {
                kernel.close(*socket);
            }
        }
        self.parts.clear();
        self.echoes.clear();
    }
}

impl Turn for Echo {
    fn turn(&mut self, kernel: &mut impl Kernel, _now_ns: u64) -> Next {
        while let Some(event) = kernel.next_event() {
            match event {
                Event::Accepted {
                    listener,
                    descriptor,
                    ..
                } => {
                    self.accepted.push(descriptor);
                    kernel.accept(listener, ACCEPTS_ARMED_MAX);
                }
                Event::Received { socket, bytes } => {
                    let again = self.parts.iter().any(|(known, _)| *known == socket);
                    if again || self.parts.len() == SEND_BATCH {
                        self.flush(kernel);
                    }
                    let bytes = kernel.bytes_mut(&bytes);
                    self.echoes.extend_from_slice(bytes);
                    self.parts.push((socket, bytes.len()));
                }
                Event::ReceiveEnded { socket, .. } => kernel.close(socket),
                _ => {}
            }
        }
        if !self.parts.is_empty() {
            self.flush(kernel);
        }
        self.install(kernel);
        Next::SleepUntil(None)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args()
        .nth(1)
        .map_or(Ok(7101), |port| port.parse())?;
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    check_port(address)?;
    let mut edge = EdgeRing::new(RingConfig::default())?;
    let listener = edge.add_listener(bind_reuse_port(address, &ListenerOptions::default())?);
    edge.accept(listener, ACCEPTS_ARMED_MAX);
    run(&mut edge, &mut Echo::default())?;
    Ok(())
}
