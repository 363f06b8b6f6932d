//! A proxy as a process: faults come by standard input, one a line.
//!
//! Purpose: a process of its own can be stopped as a whole, and does not share the generator's
//! clock. Each line is answered by one on standard output, so that whoever set a fault knows that
//! it holds. The end of the input is the end of the process.
//!
//! Runs on: the main thread of the proxy's process; a second one reads the input.

use super::{Fault, Proxy};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// Says that a line was taken.
pub const DONE: &str = "done";
/// Says that the proxy listens; its address follows.
pub const READY: &str = "ready";

/// Runs a proxy until its input ends.
pub fn run(listen: SocketAddr, target: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the proxy's runtime")?;
    runtime.block_on(async {
        let proxy = Proxy::start(listen, target)
            .await
            .with_context(|| format!("listening on {listen}: choose other ports with --port"))?;
        println!("{READY} {}", proxy.address);
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("faults".to_owned())
            .spawn(move || {
                take_lines(&proxy);
                // Nobody waits only when the process ends already.
                let _ = end.send(());
            })
            .context("starting the reader of faults")?;
        // An end without a word is the end as well.
        let _ = ended.await;
        Ok(())
    })
}

fn take_lines(proxy: &Proxy) {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { return };
        match line.parse::<Fault>() {
            Ok(fault) => {
                proxy.set(fault);
                println!("{DONE}");
            }
            Err(words) => println!("{words}"),
        }
    }
}
