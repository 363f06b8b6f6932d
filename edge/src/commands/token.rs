//! `token`: issues user and subscription tokens.
//!
//! Runs on: the main thread.

use interlink_protocol::channel::ChannelName;

use super::settings::{load_settings, signing_key};
use crate::auth::{mint_subscription, mint_user, Key, SubscriptionGrant, UserGrant, Verifier};
use crate::cli::TokenArguments;
use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::server::unix_seconds;

/// Prints a token.
pub(super) fn run(arguments: &TokenArguments) -> Result<(), CommandError> {
    let config = load_settings(&arguments.settings)?;
    let token = match &arguments.channel {
        Some(channel) => subscription_token(&config, arguments, channel)?,
        None => user_token(&config, arguments)?,
    };
    super::print(&format!("{token}\n"));
    Ok(())
}

fn user_token(config: &Config, arguments: &TokenArguments) -> Result<String, CommandError> {
    let now_s = unix_seconds();
    let grant = UserGrant {
        user: arguments.user.clone(),
        institution: arguments.institution.clone(),
        departments: arguments.department.clone(),
        classes: arguments.class.clone(),
        roles: arguments.role.clone(),
        issuer: config.auth.issuer.clone(),
        audience: config.auth.audience.clone(),
        id: arguments.id.clone(),
        issued_at_s: now_s,
        not_before_s: now_s,
        expires_at_s: now_s.saturating_add(arguments.ttl.as_secs().max(1)),
    };
    let key = signing_key(config, arguments.key.as_deref())?;
    issue_user(config, &key, &grant)
}

/// Signs a user token and checks it as a node would, so that wrong names are found here.
pub(super) fn issue_user(
    config: &Config,
    key: &Key,
    grant: &UserGrant,
) -> Result<String, CommandError> {
    let token = mint_user(key, grant).map_err(|error| CommandError::new(Exit::Config, error))?;
    let auth = &config.auth;
    Verifier::of_keys(vec![key.clone()], &auth.issuer, &auth.audience)
        .user(&token, grant.not_before_s)
        .map_err(|error| {
            CommandError::new(
                Exit::Failed,
                format!("a node would refuse this token: {error}"),
            )
            .cure("names consist of letters, digits and . _ - : @")
        })?;
    Ok(token)
}

fn subscription_token(
    config: &Config,
    arguments: &TokenArguments,
    channel: &str,
) -> Result<String, CommandError> {
    ChannelName::parse(channel).map_err(|error| CommandError::new(Exit::Failed, error))?;
    let grant = SubscriptionGrant {
        user: arguments.user.clone(),
        channel: channel.to_owned(),
        expires_at_s: unix_seconds().saturating_add(arguments.ttl.as_secs().max(1)),
    };
    let key = signing_key(config, arguments.key.as_deref())?;
    mint_subscription(&key, &grant).map_err(|error| CommandError::new(Exit::Config, error))
}
