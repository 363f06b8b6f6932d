//! `tail`: prints the events of a channel as they come.
//!
//! Runs on: the main thread, in a current-thread tokio runtime.

use interlink_client::Delivery;
use interlink_protocol::channel::ChannelName;

use super::connect::{block_on, connect, of_client};
use super::show;
use crate::cli::TailArguments;
use crate::exit::{CommandError, Exit};

/// Prints until the subscription ends, or as many events as were asked for.
pub(super) fn run(arguments: &TailArguments) -> Result<(), CommandError> {
    block_on(tail(arguments))
}

async fn tail(arguments: &TailArguments) -> Result<(), CommandError> {
    let channel = ChannelName::parse(&arguments.channel)
        .map_err(|error| CommandError::new(Exit::Failed, error))?;
    let connected = connect(&arguments.connect, &channel).await?;
    let mut subscription = connected
        .subscribe(channel.as_str(), arguments.after)
        .await?;
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(delivery) = subscription.next().await else {
            break;
        };
        if arguments.json {
            super::print(&format!("{}\n", show::json_of(&delivery)));
        } else if let Some(line) = show::line(&delivery) {
            super::print(&format!("{line}\n"));
        }
        match delivery {
            Delivery::Event(_) => left -= 1,
            Delivery::Ended(error) => return Err(of_client(error)),
            Delivery::Gap(_) | Delivery::Recovered(_) | Delivery::Presence(_) => {}
        }
    }
    connected.client.close().await;
    Ok(())
}
