//! Connects a client command to a node, with a given token or one of its own.
//!
//! Runs on: the main thread of a command, in a current-thread tokio runtime.

use std::future::Future;
use std::time::Duration;

use interlink_client::{Client, Error, Subscription};
use interlink_protocol::channel::ChannelName;

use super::settings::{load_settings, signing_key};
use super::token::issue_user;
use crate::auth::{mint_subscription, SubscriptionGrant, UserGrant};
use crate::cli::ConnectArguments;
use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::server::unix_seconds;

/// Environment variable with a user token.
const TOKEN_VARIABLE: &str = "INTERLINK_TOKEN";

/// Life of a token that a command issues for itself: it may tail for a working day.
const OWN_TOKEN: Duration = Duration::from_secs(12 * 3_600);

/// User of tokens for channels that name nobody.
const OWN_USER: &str = "operator";

/// A connected client, and the token for the channel where the command could issue one.
pub(super) struct Connected {
    pub(super) client: Client,
    channel_token: Option<String>,
}

impl Connected {
    /// Subscribes to the channel that the client was connected for.
    pub(super) async fn subscribe(
        &self,
        channel: &str,
        after: Option<interlink_client::Position>,
    ) -> Result<Subscription, CommandError> {
        let mut subscribe = self.client.subscribe(channel);
        if let Some(position) = after {
            subscribe = subscribe.recover_from(position);
        }
        if let Some(token) = &self.channel_token {
            subscribe = subscribe.token(token.as_str());
        }
        subscribe.await.map_err(of_client)
    }
}

/// Connects for the use of one channel.
pub(super) async fn connect(
    arguments: &ConnectArguments,
    channel: &ChannelName<'_>,
) -> Result<Connected, CommandError> {
    let given = arguments.token.clone().or_else(|| {
        let named_user = arguments.user.is_some();
        std::env::var(TOKEN_VARIABLE).ok().filter(|_| !named_user)
    });
    let (token, channel_token) = match given {
        Some(token) => (token, None),
        None => own_tokens(arguments, channel)?,
    };
    let mut builder = Client::builder(&arguments.url)
        .application("interlink-edge", env!("CARGO_PKG_VERSION"))
        .token(token);
    if let Some(path) = &arguments.ca {
        let unreadable = |error| format!("cannot read {}: {error}", path.display());
        let pem = std::fs::read(path)
            .map_err(|error| CommandError::new(Exit::Config, unreadable(error)))?;
        builder = builder.authorities(pem);
    }
    let client = builder.connect().await.map_err(of_client)?;
    Ok(Connected {
        client,
        channel_token,
    })
}

/// A user token that the channel's permissions accept, and a subscription token.
fn own_tokens(
    arguments: &ConnectArguments,
    channel: &ChannelName<'_>,
) -> Result<(String, Option<String>), CommandError> {
    let config = load_settings(&arguments.settings)?;
    let grant = grant_for(&config, channel, arguments.user.as_deref());
    let key = signing_key(&config, None)?;
    let token = issue_user(&config, &key, &grant)?;
    let channel_grant = SubscriptionGrant {
        user: grant.user,
        channel: channel.as_str().to_owned(),
        expires_at_s: grant.expires_at_s,
    };
    let channel_token = mint_subscription(&key, &channel_grant)
        .map_err(|error| CommandError::new(Exit::Config, error))?;
    Ok((token, Some(channel_token)))
}

/// Whoever has the key may be anybody: the claims are those that the channel asks for.
fn grant_for(config: &Config, channel: &ChannelName<'_>, user: Option<&str>) -> UserGrant {
    let now_s = unix_seconds();
    let mut grant = UserGrant {
        user: OWN_USER.to_owned(),
        roles: ["staff", "teacher", "operator", "service"]
            .map(str::to_owned)
            .to_vec(),
        issuer: config.auth.issuer.clone(),
        audience: config.auth.audience.clone(),
        issued_at_s: now_s,
        not_before_s: now_s,
        expires_at_s: now_s + OWN_TOKEN.as_secs(),
        ..UserGrant::default()
    };
    // Presence scopes are other channels' names: `presence.class.maths-1`.
    let nested = format!("{}.", "presence");
    let name = channel
        .as_str()
        .strip_prefix(&nested)
        .unwrap_or(channel.as_str());
    let (namespace, id) = name
        .split_once('.')
        .unwrap_or((channel.namespace(), channel.id()));
    let (first, second) = id.split_once('.').unwrap_or((id, ""));
    match namespace {
        "inst" | "report" | "usage" => grant.institution = Some(first.to_owned()),
        "dept" => {
            grant.institution = Some(first.to_owned());
            grant.departments = vec![second.to_owned()];
        }
        "class" => grant.classes = vec![id.to_owned()],
        "user" | "alert" | "activity" => grant.user = id.to_owned(),
        "chat" => {
            if let Some((one, _)) = channel.pair() {
                grant.user = one.to_owned();
            }
        }
        _ => {}
    }
    if let Some(user) = user {
        grant.user = user.to_owned();
        // A named user acts as that person and not as the system.
        grant
            .roles
            .retain(|role| role != "service" && role != "operator");
    }
    grant
}

/// Runs a command's future to its end.
pub(super) fn block_on<T>(
    future: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(Exit::Host, error))?;
    runtime.block_on(future)
}

/// A client's error with the exit code that fits.
pub(super) fn of_client(error: Error) -> CommandError {
    let exit = match &error {
        Error::Unreachable { .. } | Error::TimedOut(_) => Exit::Unreachable,
        Error::Refused { .. } | Error::Closed(_) => Exit::Refused,
        _ => Exit::Failed,
    };
    CommandError::new(exit, error)
}

#[cfg(test)]
mod tests {
    use interlink_protocol::claims::Claims;
    use interlink_protocol::namespace::{permit_publish, permit_subscribe, Namespaces};

    use super::*;

    #[test]
    fn the_own_token_may_read_every_namespace() {
        let config = Config::default();
        let namespaces = Namespaces::defaults();
        for name in [
            "inst.north",
            "dept.north.maths",
            "class.m1",
            "chat.ada~bob",
            "chat.room",
            "collab.d",
            "collab-awareness.d",
            "user.ada",
            "alert.ada",
            "activity.ada",
            "presence.class.m1",
            "presence.dept.north.maths",
            "sys.notifications",
            "sys.status",
            "sys.metrics",
            "sys.security",
            "report.north.r",
            "usage.north.u",
        ] {
            let channel = ChannelName::parse(name).expect("name");
            let grant = grant_for(&config, &channel, None);
            let claims = Claims {
                user: grant.user,
                institution: grant.institution.unwrap_or_default(),
                departments: grant.departments,
                classes: grant.classes,
                roles: grant.roles,
                expires_at_s: grant.expires_at_s,
            };
            claims.check().expect("names are right");
            let policy = namespaces.lookup(&channel).expect("policy");
            let read = permit_subscribe(policy, &channel, &claims, true);
            assert_eq!(read, Ok(()), "{name}");
            if channel.namespace() != "sys" {
                let write = permit_publish(policy, &channel, &claims, true);
                assert_eq!(write, Ok(()), "{name}");
            }
        }
    }
}
