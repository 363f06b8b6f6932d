//! `top`: what the nodes do, live in the terminal.
//!
//! Subscribes to `sys.metrics` and `sys.status` as any client does; `model` takes the events,
//! `frame` draws the model, both without I/O, and `terminal` shows frames.
//!
//! Drawn with escape codes instead of ratatui, which would add 40 crates to the tree of the
//! server for one screen of text.
//!
//! Runs on: the main thread, in a current-thread tokio runtime.

mod frame;
mod model;
mod terminal;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use interlink_client::{Delivery, Subscription};
use interlink_protocol::channel::ChannelName;
use tokio::signal::unix::{signal, Signal, SignalKind};
use tokio::sync::mpsc;

use super::connect::{block_on, connect, of_client};
use crate::cli::TopArguments;
use crate::control::status::{METRICS_CHANNEL, STATUS_CHANNEL};
use crate::exit::{CommandError, Exit};
use model::Model;
use terminal::Terminal;

/// How long `--once` waits for a summary, of which every node publishes one a second.
const ONCE_WITHIN: Duration = Duration::from_secs(5);
/// Size of what `--once` prints.
const ONCE_SIZE: (usize, usize) = (80, 24);
/// How often the frame is drawn without news: the age of the newest summary is on it.
const DRAW_EVERY: Duration = Duration::from_secs(1);

const CONTROL_C: u8 = 3;

/// Shows until a key or a signal ends it.
pub(super) fn run(arguments: &TopArguments) -> Result<(), CommandError> {
    block_on(top(arguments))
}

async fn top(arguments: &TopArguments) -> Result<(), CommandError> {
    let channel = ChannelName::parse(METRICS_CHANNEL)
        .map_err(|error| CommandError::new(Exit::Failed, error))?;
    let connected = connect(&arguments.connect, &channel).await?;
    // The state first, so that a summary never comes before it.
    let status = connected.client.subscribe(STATUS_CHANNEL).await;
    let mut feed = Feed {
        status: status.map_err(of_client)?,
        metrics: connected.subscribe(METRICS_CHANNEL, None).await?,
        model: Model::default(),
        began: Instant::now(),
    };
    if arguments.once {
        feed.first_summary().await?;
        super::print(&feed.as_text());
    } else {
        if !Terminal::is_there() {
            return Err(
                CommandError::new(Exit::Host, "standard input and output are no terminal")
                    .cure("use --once to print one snapshot"),
            );
        }
        live(&mut feed).await?;
    }
    connected.client.close().await;
    Ok(())
}

/// The events of the two channels, and what is known by them.
struct Feed {
    status: Subscription,
    metrics: Subscription,
    model: Model,
    began: Instant,
}

impl Feed {
    /// Takes the next event.
    async fn next(&mut self) -> Result<(), CommandError> {
        let delivery = tokio::select! {
            delivery = self.metrics.next() => delivery,
            delivery = self.status.next() => delivery,
        };
        match delivery {
            Some(Delivery::Event(event)) => {
                let now_ms = self.now_ms();
                self.model.take(event.event_type, &event.payload, now_ms);
                Ok(())
            }
            Some(Delivery::Ended(error)) => Err(of_client(error)),
            Some(Delivery::Gap(_) | Delivery::Recovered(_) | Delivery::Presence(_)) => Ok(()),
            None => Err(CommandError::new(
                Exit::Unreachable,
                "the client was closed",
            )),
        }
    }

    async fn first_summary(&mut self) -> Result<(), CommandError> {
        let within = tokio::time::timeout(ONCE_WITHIN, async {
            while self.model.nodes.values().all(|node| node.heard_ms == 0) {
                self.next().await?;
            }
            Ok(())
        });
        within.await.unwrap_or_else(|_| {
            let seconds = ONCE_WITHIN.as_secs();
            let text = format!("no node published on {METRICS_CHANNEL} within {seconds} s");
            Err(CommandError::new(Exit::Failed, text)
                .cure("ask /readyz of the node whether it serves clients"))
        })
    }

    fn now_ms(&self) -> u64 {
        // From 1, since 0 means that nothing was heard.
        self.began.elapsed().as_millis() as u64 + 1
    }

    fn as_text(&self) -> String {
        let (width, height) = ONCE_SIZE;
        let lines = frame::draw(&self.model, self.now_ms(), width, height);
        // The last line names keys.
        let lines = &lines[..lines.len() - 1];
        let text: Vec<String> = lines.iter().map(frame::Line::text).collect();
        let mut text = text.join("\n");
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// What happened to the terminal.
enum Input {
    Key(u8),
    Resized,
    End,
}

/// Keys and signals.
struct Inputs {
    keys: mpsc::Receiver<u8>,
    resized: Signal,
    terminated: Signal,
    hung_up: Signal,
}

impl Inputs {
    fn open() -> std::io::Result<Self> {
        Ok(Self {
            keys: Terminal::keys(),
            resized: signal(SignalKind::window_change())?,
            terminated: signal(SignalKind::terminate())?,
            hung_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Input {
        tokio::select! {
            key = self.keys.recv() => key.map_or(Input::End, Input::Key),
            _ = self.resized.recv() => Input::Resized,
            _ = self.terminated.recv() => Input::End,
            _ = self.hung_up.recv() => Input::End,
        }
    }
}

async fn live(feed: &mut Feed) -> Result<(), CommandError> {
    let of_host = |error| CommandError::new(Exit::Host, error);
    let mut terminal = Terminal::enter().map_err(of_host)?;
    let mut inputs = Inputs::open().map_err(of_host)?;
    let mut ticks = tokio::time::interval(DRAW_EVERY);
    loop {
        let (width, height) = Terminal::size();
        let lines = frame::draw(&feed.model, feed.now_ms(), width, height);
        terminal.show(lines, (width, height));
        tokio::select! {
            taken = feed.next() => taken?,
            _ = ticks.tick() => {}
            input = inputs.next() => match input {
                Input::Key(b'q' | b'Q' | CONTROL_C) | Input::End => return Ok(()),
                Input::Key(b'n' | b'\t') => feed.model.select_next(),
                Input::Key(_) | Input::Resized => {}
            },
        }
    }
}
