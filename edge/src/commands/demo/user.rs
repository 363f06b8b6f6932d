//! A user of the demo: a process that chats, and its other end in the demo.
//!
//! The process reads one message a line from standard input and writes what it sees as
//! JSON lines: `joined`, `recovered`, `event`, `gap`, `acknowledged`.
//!
//! Runs on: the child's main thread with a current-thread tokio runtime; in the demo,
//! on its main thread and one reader thread for each user.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};

use interlink_client::{Client, Delivery, Subscription};
use interlink_protocol::channel::ChannelName;
use interlink_protocol::namespace::Namespaces;
use serde_json::{json, Value};
use tokio::sync::mpsc as async_mpsc;
use tokio::task::JoinSet;

use super::node::own_program;
use super::{failed, PATIENCE};
use crate::cli::DemoUserArguments;
use crate::commands::connect::{block_on, connect, of_client};
use crate::commands::{payload, print, show};
use crate::exit::{CommandError, Exit};

/// Runs the process of a user until standard input ends.
pub(in crate::commands) fn run(arguments: &DemoUserArguments) -> Result<(), CommandError> {
    block_on(chat(arguments))
}

async fn chat(arguments: &DemoUserArguments) -> Result<(), CommandError> {
    let channel = ChannelName::parse(&arguments.channel)
        .map_err(|error| CommandError::new(Exit::Failed, error))?;
    let connected = connect(&arguments.connect, &channel).await?;
    let mut subscription = connected
        .subscribe(channel.as_str(), arguments.after)
        .await?;
    print(&format!("{}\n", json!({ "kind": "joined" })));
    let mut lines = read_lines();
    let mut publishes = JoinSet::new();
    loop {
        tokio::select! {
            delivery = next(&mut subscription) => show_delivery(delivery?)?,
            line = lines.recv() => match line {
                Some(line) => {
                    let client = connected.client.clone();
                    publishes.spawn(say(client, arguments.channel.clone(), line));
                }
                None => break,
            },
            Some(said) = publishes.join_next() => match said {
                Ok(said) => print(&format!("{}\n", said?)),
                Err(error) => return Err(failed(error.to_string())),
            },
        }
    }
    connected.client.close().await;
    Ok(())
}

async fn next(subscription: &mut Subscription) -> Result<Delivery, CommandError> {
    let delivery = subscription.next().await;
    delivery.ok_or_else(|| failed("the subscription has ended".to_owned()))
}

fn show_delivery(delivery: Delivery) -> Result<(), CommandError> {
    print(&format!("{}\n", show::json_of(&delivery)));
    match delivery {
        Delivery::Ended(error) => Err(of_client(error)),
        _ => Ok(()),
    }
}

/// Publishes one message and tells of its acknowledgement.
async fn say(client: Client, channel: String, line: String) -> Result<Value, CommandError> {
    let name = ChannelName::parse(&channel).map_err(|error| failed(error.to_string()))?;
    let namespaces = Namespaces::defaults();
    let payload = namespaces
        .lookup(&name)
        .and_then(|policy| payload::of_text(&name, policy, &line))
        .ok_or_else(|| failed(format!("{channel} takes no words")))?;
    let publish = client
        .publish(&channel, payload.bytes)
        .event_type(payload.event_type);
    let receipt = publish.await.map_err(of_client)?;
    Ok(json!({ "kind": "acknowledged", "text": line, "duplicate": receipt.duplicate }))
}

/// Lines of standard input, read by a thread, since reading blocks.
fn read_lines() -> async_mpsc::Receiver<String> {
    let (lines, inbox) = async_mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    inbox
}

/// The demo's end of a user's process; killed when dropped.
pub(super) struct User {
    /// Name of the user.
    pub(super) name: &'static str,
    child: Child,
    input: ChildStdin,
    output: Receiver<Value>,
    /// Text of every message on this user's screen, over all its processes.
    pub(super) screen: Vec<String>,
    /// Position of the last one.
    last: Option<String>,
}

/// What a user's process needs to know.
pub(super) struct Invitation<'a> {
    pub(super) name: &'static str,
    pub(super) url: &'a str,
    pub(super) channel: &'a str,
    pub(super) data: &'a std::path::Path,
}

impl User {
    /// Starts a user and waits until it has joined.
    pub(super) fn join(invitation: &Invitation<'_>) -> Result<Self, CommandError> {
        let (child, input, output) = spawn(invitation, None)?;
        let mut user = Self {
            name: invitation.name,
            child,
            input,
            output,
            screen: Vec::new(),
            last: None,
        };
        user.wait_for("joined")?;
        Ok(user)
    }

    /// Kills the process of the user.
    pub(super) fn kill(&mut self) -> Result<(), CommandError> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map_err(|error| failed(format!("cannot kill {}: {error}", self.name)))?;
        Ok(())
    }

    /// Starts a killed user again, from the last message on its screen. Returns how many
    /// missed messages follow.
    pub(super) fn come_back(&mut self, invitation: &Invitation<'_>) -> Result<u64, CommandError> {
        let (child, input, output) = spawn(invitation, self.last.as_deref())?;
        (self.child, self.input, self.output) = (child, input, output);
        let recovered = self.wait_for("recovered")?;
        if recovered["recovered"] != true {
            let reason = &recovered["reason"];
            return Err(failed(format!(
                "{} could not be continued: {reason}",
                self.name
            )));
        }
        Ok(recovered["following"].as_u64().unwrap_or(0))
    }

    /// Sends a message.
    pub(super) fn say(&mut self, words: &str) -> Result<(), CommandError> {
        writeln!(self.input, "{words}")
            .and_then(|()| self.input.flush())
            .map_err(|error| failed(format!("{} cannot speak: {error}", self.name)))
    }

    /// Waits for the next message on the screen.
    pub(super) fn read(&mut self) -> Result<String, CommandError> {
        let event = self.wait_for("event")?;
        Ok(event["text"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for a line of a kind; messages before it are put on the screen too.
    fn wait_for(&mut self, kind: &str) -> Result<Value, CommandError> {
        loop {
            let line = self
                .output
                .recv_timeout(PATIENCE)
                .map_err(|_| failed(format!("{} saw no {kind} within {PATIENCE:?}", self.name)))?;
            if line["kind"] == "event" {
                self.screen
                    .push(line["text"].as_str().unwrap_or_default().to_owned());
                self.last = line["position"].as_str().map(str::to_owned);
            }
            if line["kind"] == "gap" {
                return Err(failed(format!("{} missed messages: {line}", self.name)));
            }
            if line["kind"] == kind {
                return Ok(line);
            }
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // A child that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Ends = (Child, ChildStdin, Receiver<Value>);

fn spawn(invitation: &Invitation<'_>, after: Option<&str>) -> Result<Ends, CommandError> {
    let cannot = |error: std::io::Error| failed(format!("cannot start a user: {error}"));
    let mut command = own_program()?;
    command
        .args(["demo-user", invitation.channel, "--url", invitation.url])
        .args(["--user", invitation.name, "--data"])
        .arg(invitation.data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some(position) = after {
        command.args(["--after", position]);
    }
    let mut child = command.spawn().map_err(cannot)?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed("a user has no input or output".to_owned()));
    };
    let (values, inbox) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let value = serde_json::from_str(&line).unwrap_or(Value::Null);
            if values.send(value).is_err() {
                break;
            }
        }
    });
    Ok((child, input, inbox))
}
