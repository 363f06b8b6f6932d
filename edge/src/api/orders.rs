//! What services do to users: disconnect, subscribe, unsubscribe, revoke their tokens.
//!
//! Invariants: a service of an institution acts on users and tokens of that institution only;
//! every request that names somebody is in the log, refused or not.
//!
//! Runs on: the control thread.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use interlink_protocol::claims::{ClaimsView, PackedClaims};
use interlink_protocol::limits::NAME_BYTES;
use interlink_protocol::{CloseCode, ErrorCode};

use super::audit::{self, Subject};
use super::bodies::{
    read, Disconnect, Disconnected, Membership, Revoke, RevokedTokens, Subscribed, Taken,
    Unsubscribed,
};
use super::failure::{json, Refused};
use super::limits::{CLOSE_REASON_BYTES_MAX, REVOKED_PER_REQUEST_MAX};
use super::ApiState;
use crate::auth::limits::TOKEN_ID_BYTES_MAX;
use crate::auth::{Revocation, RevokeError, Revoked};
use crate::server::unix_seconds;
use crate::shard::service::questions::{Act, Carried};

/// `POST /v1/disconnect`.
pub async fn disconnect(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let wish = read::<Disconnect>(body)?;
    let code = wish.code.unwrap_or(CloseCode::Disconnected.number());
    let may_resume = (4_000..=4_999).contains(&code);
    if !may_resume && code != CloseCode::Disconnected.number() {
        let detail = format!("code {code} is neither 3507 nor between 4000 and 4999");
        return Err(Refused::invalid(detail));
    }
    let reason = wish.reason.as_deref();
    let reason = reason.unwrap_or(CloseCode::Disconnected.name());
    if reason.len() > CLOSE_REASON_BYTES_MAX {
        let detail = format!("reason needs at most {CLOSE_REASON_BYTES_MAX} bytes of UTF-8");
        return Err(Refused::invalid(detail));
    }
    let act = Act::Disconnect {
        code,
        reason: reason.into(),
        may_resume,
    };
    let subject = Subject {
        user: Some(&wish.user),
        close_code: Some(code),
        ..Subject::default()
    };
    let carried = order(&state, &caller, ("disconnect", subject), act).await?;
    let connections = carried.done;
    Ok(json(StatusCode::OK, &Disconnected { connections }))
}

/// `POST /v1/subscribe`.
pub async fn subscribe(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let wish = read::<Membership>(body)?;
    let act = Act::Subscribe(wish.channel.as_str().into());
    let subject = subject_of(&wish);
    let carried = order(&state, &caller, ("subscribe", subject), act).await?;
    let answer = Subscribed {
        sessions: carried.done,
        already: carried.already,
        refused: carried.refused,
    };
    Ok(json(StatusCode::OK, &answer))
}

/// `POST /v1/unsubscribe`.
pub async fn unsubscribe(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let wish = read::<Membership>(body)?;
    let act = Act::Unsubscribe(wish.channel.as_str().into());
    let subject = subject_of(&wish);
    let carried = order(&state, &caller, ("unsubscribe", subject), act).await?;
    let sessions = carried.done;
    Ok(json(StatusCode::OK, &Unsubscribed { sessions }))
}

/// `POST /v1/tokens/revoke`.
pub async fn revoke(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let wish = read::<Revoke>(body)?;
    let entries = entries_of(wish, caller.institution())?;
    let revoked = state.revoker.revoke(entries.clone()).await;
    let outcome = revoked
        .map(|count| count as u32)
        .map_err(|error| match error {
            RevokeError::Full(_) => Refused::because(ErrorCode::TooManyItems, error),
            RevokeError::File(_) => {
                let detail = "the list could not be written; the log of the node says why";
                Refused::because(ErrorCode::Unavailable, detail)
            }
            RevokeError::Busy => Refused::because(ErrorCode::Overloaded, error),
            RevokeError::Stopped => Refused::because(ErrorCode::Draining, error),
        });
    for entry in &entries {
        let outcome = outcome.as_ref().map(|_| 1).map_err(Refused::code);
        audit::note("revoke", &caller, subject_of_entry(entry), outcome);
    }
    let entries = outcome?;
    Ok(json(StatusCode::OK, &RevokedTokens { entries }))
}

/// Carries an act out on a user's sessions, and notes it in the log.
async fn order(
    state: &ApiState,
    caller: &Arc<PackedClaims>,
    (operation, subject): (&'static str, Subject<'_>),
    act: Act,
) -> Result<Carried, Refused> {
    let user = subject.user.unwrap_or_default();
    check_user(user)?;
    let carried = state.gateway.order(caller, user, act).await;
    let outcome = carried.as_ref().map(|carried| carried.done);
    let outcome = outcome.map_err(|refusal| refusal.code);
    audit::note(operation, caller, subject, outcome);
    carried.map_err(|refusal| match refusal.code {
        ErrorCode::NotPermitted => {
            let detail = "the user belongs to another institution than the service, or may not \
                          be subscribed to this channel";
            Refused::because(ErrorCode::NotPermitted, detail)
        }
        _ => refusal.into(),
    })
}

fn subject_of(wish: &Membership) -> Subject<'_> {
    Subject {
        user: Some(&wish.user),
        channel: Some(&wish.channel),
        ..Subject::default()
    }
}

fn subject_of_entry(entry: &Revocation) -> Subject<'_> {
    match &entry.what {
        Revoked::Token(id) => Subject {
            token_id: Some(id),
            ..Subject::default()
        },
        Revoked::User(user, seconds) => Subject {
            user: Some(user),
            issued_before_s: Some(*seconds),
            ..Subject::default()
        },
    }
}

/// The entries that a request asks for, for tokens of `institution` only unless it is empty.
fn entries_of(wish: Revoke, institution: &str) -> Result<Vec<Revocation>, Refused> {
    let users = wish.users.unwrap_or_default();
    let token_ids = wish.token_ids.unwrap_or_default();
    let count = users.len() + token_ids.len();
    if count > REVOKED_PER_REQUEST_MAX {
        let detail = format!("{count} users and tokens, at most {REVOKED_PER_REQUEST_MAX}");
        return Err(Refused::because(ErrorCode::TooManyItems, detail));
    }
    if count == 0 {
        let detail = "neither users nor token_ids are given; give one";
        return Err(Refused::invalid(detail));
    }
    users.iter().try_for_each(|user| check_user(user))?;
    token_ids.iter().try_for_each(|id| check_token_id(id))?;
    let end_of_second_s = unix_seconds().saturating_add(1).min(u64::from(u32::MAX));
    let seconds = wish.issued_before_s.unwrap_or(end_of_second_s as u32);
    let users = users.into_iter().map(|name| Revoked::User(name, seconds));
    let entries = users.chain(token_ids.into_iter().map(Revoked::Token));
    Ok(entries
        .map(|what| Revocation {
            what,
            institution: institution.to_owned(),
        })
        .collect())
}

fn check_user(name: &str) -> Result<(), Refused> {
    let is_sized = (1..=NAME_BYTES).contains(&name.len());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte);
    if is_sized && name.bytes().all(allowed) {
        return Ok(());
    }
    let detail = format!(
        "a user has 1 to {NAME_BYTES} bytes of letters, digits and the characters . _ - : @"
    );
    Err(Refused::invalid(detail))
}

fn check_token_id(id: &str) -> Result<(), Refused> {
    let is_sized = (1..=TOKEN_ID_BYTES_MAX).contains(&id.len());
    // A line of the list ends a word at a blank, and itself at #.
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if is_sized && id.bytes().all(allowed) {
        return Ok(());
    }
    let detail = format!(
        "a token id has 1 to {TOKEN_ID_BYTES_MAX} printable ASCII characters but blanks and #"
    );
    Err(Refused::invalid(detail))
}
