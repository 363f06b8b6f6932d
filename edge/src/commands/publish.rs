//! `publish`: sends a file, or each line of standard input, to a channel.
//!
//! Limits: a file has at most what the namespace allows for a payload.
//! Runs on: the main thread, in a current-thread tokio runtime.

use std::io::BufRead;
use std::path::Path;

use interlink_client::{Client, PublishReceipt};
use interlink_protocol::channel::ChannelName;
use interlink_protocol::limits::PAYLOAD_BYTES;
use interlink_protocol::namespace::{NamespacePolicy, Namespaces};

use super::connect::{block_on, connect, of_client};
use super::payload::{self, Payload};
use crate::cli::PublishArguments;
use crate::exit::{CommandError, Exit};

/// Publishes and waits for the acknowledgement of each event.
pub(super) fn run(arguments: &PublishArguments) -> Result<(), CommandError> {
    block_on(publish(arguments))
}

async fn publish(arguments: &PublishArguments) -> Result<(), CommandError> {
    let channel = ChannelName::parse(&arguments.channel)
        .map_err(|error| CommandError::new(Exit::Failed, error))?;
    let namespaces = Namespaces::defaults();
    let policy = namespaces.lookup(&channel).ok_or_else(|| {
        let cause = format!("there is no namespace {}", channel.namespace());
        CommandError::new(Exit::Failed, cause)
            .cure("interlink-edge config reference lists the namespaces")
    })?;
    let connected = connect(&arguments.connect, &channel).await?;
    // Where a subscription token grants a channel, it is presented by subscribing.
    let _subscription = match policy.publish.token {
        true => Some(connected.subscribe(channel.as_str(), None).await?),
        false => None,
    };
    let form = Form {
        channel,
        policy,
        event_type: arguments.event_type,
    };
    match &arguments.file {
        Some(path) => publish_file(&connected.client, &form, path).await?,
        None => publish_lines(&connected.client, &form).await?,
    }
    connected.client.close().await;
    Ok(())
}

/// How payloads are made for a channel.
struct Form<'a> {
    channel: ChannelName<'a>,
    policy: &'a NamespacePolicy,
    event_type: Option<u16>,
}

impl Form<'_> {
    fn of_bytes(&self, bytes: Vec<u8>) -> Result<Payload, CommandError> {
        if let Some(event_type) = self.event_type {
            return Ok(Payload { event_type, bytes });
        }
        if self.policy.opaque_allowed {
            let event_type = 0;
            return Ok(Payload { event_type, bytes });
        }
        let text = std::str::from_utf8(&bytes).ok();
        let payload = text.and_then(|text| payload::of_text(&self.channel, self.policy, text));
        payload.ok_or_else(|| {
            let cause = format!(
                "{} takes registered event types only",
                self.channel.as_str()
            );
            CommandError::new(Exit::Failed, cause)
                .cure("name the type with --event-type and give its FlatBuffer as the payload")
        })
    }
}

async fn publish_file(client: &Client, form: &Form<'_>, path: &Path) -> Result<(), CommandError> {
    let failed = |cause: String| CommandError::new(Exit::Failed, cause);
    let bytes = std::fs::read(path)
        .map_err(|error| failed(format!("cannot read {}: {error}", path.display())))?;
    if bytes.len() > PAYLOAD_BYTES {
        let cause = format!("{} has {} bytes", path.display(), bytes.len());
        return Err(failed(cause).cure(format!("a payload has at most {PAYLOAD_BYTES} bytes")));
    }
    send(client, form, bytes).await
}

async fn publish_lines(client: &Client, form: &Form<'_>) -> Result<(), CommandError> {
    // Reading blocks this thread and with it the client; so the lines come from another
    // thread, at most one ahead.
    let (lines, mut inbox) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    while let Some(line) = inbox.recv().await {
        let line = line.map_err(|error| {
            CommandError::new(Exit::Failed, format!("cannot read standard input: {error}"))
        })?;
        send(client, form, line.into_bytes()).await?;
    }
    Ok(())
}

async fn send(client: &Client, form: &Form<'_>, bytes: Vec<u8>) -> Result<(), CommandError> {
    let payload = form.of_bytes(bytes)?;
    let publish = client
        .publish(form.channel.as_str(), payload.bytes)
        .event_type(payload.event_type);
    let receipt = publish.await.map_err(of_client)?;
    eprintln!("{}", receipt_line(&receipt));
    Ok(())
}

/// What became of a publish, for people; standard output stays empty.
fn receipt_line(receipt: &PublishReceipt) -> String {
    let place = receipt.position.map_or_else(String::new, |position| {
        format!(" as number {} of its channel", position.offset)
    });
    let again = if receipt.duplicate { ", again" } else { "" };
    format!("acknowledged at level {:?}{place}{again}", receipt.level)
}
