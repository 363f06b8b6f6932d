//! What services read: channels with subscribers, past events, and who is present.
//!
//! Runs on: the control thread.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use interlink_protocol::ids::Position;
use interlink_protocol::limits::HISTORY_PAGE_EVENTS;
use interlink_protocol::registry::OPAQUE;
use interlink_protocol::ErrorCode;
use serde::de::DeserializeOwned;

use super::bodies::{
    ActiveChannel, ActiveChannels, ChannelsQuery, HistoryQuery, PastEvent, PastEvents,
    PresenceQuery, PresentUser, PresentUsers,
};
use super::failure::{json, Refused};
use super::limits::CHANNELS_PER_PAGE;
use super::ApiState;
use crate::gateway::limits::CHANNELS_PER_PAGE_MAX;
use crate::gateway::ChannelCursor;
use crate::shard::files::event_of;

/// `GET /v1/channels`.
pub async fn channels(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let query = query_of::<ChannelsQuery>(&uri)?;
    let from = query.after.as_deref().map(parse_cursor).transpose()?;
    let limit = query
        .limit
        .map_or(CHANNELS_PER_PAGE, |limit| limit as usize);
    let limit = limit.min(CHANNELS_PER_PAGE_MAX);
    let prefix = query.prefix.unwrap_or_default();
    let (found, next) = state
        .gateway
        .channels(&caller, &prefix, from, limit)
        .await?;
    let channels = found.into_iter().map(|channel| ActiveChannel {
        channel: channel.name.into(),
        class: channel.class.name().to_owned(),
        subscribers: channel.subscribers,
        offset: channel.offset,
    });
    let answer = ActiveChannels {
        channels: channels.collect(),
        next: next.map(|next| format!("{}.{}", next.shard, next.at)),
    };
    Ok(json(StatusCode::OK, &answer))
}

/// `GET /v1/history`.
pub async fn history(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let query = query_of::<HistoryQuery>(&uri)?;
    let after = match query.after.as_deref() {
        Some(text) => parse_position(text)?,
        None => Position::ZERO,
    };
    let limit = query
        .limit
        .map_or(HISTORY_PAGE_EVENTS, |limit| limit as usize);
    let page = state
        .gateway
        .history(&caller, &query.channel, after, limit)
        .await?;
    let events = page.frames.iter().filter_map(|frame| past_event(frame));
    let next = (page.last != Position::ZERO).then(|| position_text(page.last));
    let answer = PastEvents {
        events: events.collect(),
        next,
        more: page.more,
        top: page.top.map(position_text),
        stale: page.stale,
    };
    Ok(json(StatusCode::OK, &answer))
}

/// `GET /v1/presence`.
pub async fn presence(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let query = query_of::<PresenceQuery>(&uri)?;
    let after = query.after.as_deref();
    let page = state
        .gateway
        .presence(&caller, &query.channel, after)
        .await?;
    let users = page.members.iter().map(|member| PresentUser {
        user: member.user.to_string(),
        devices: member.devices,
    });
    let answer = PresentUsers {
        count: page.count,
        users: users.collect(),
        next: page.next.map(|next| next.to_string()),
        stale: page.is_stale,
    };
    Ok(json(StatusCode::OK, &answer))
}

/// The event of an encoded frame; those of the journal always decode.
fn past_event(frame: &[u8]) -> Option<PastEvent> {
    let event = event_of(frame)?;
    let json = match event.event_type {
        OPAQUE => serde_json::from_slice(event.payload).ok(),
        _ => None,
    };
    Some(PastEvent {
        position: position_text(event.position),
        offset: event.position.offset,
        record: event.record.to_string(),
        publisher: event.publisher.to_owned(),
        event_type: event.event_type,
        schema_version: event.schema_version,
        server_time_us: event.server_time_us,
        payload: STANDARD.encode(event.payload),
        json,
    })
}

/// A position as callers hold it. JSON numbers of many readers have 53 bits, which are too few.
fn position_text(position: Position) -> String {
    let Position {
        epoch,
        offset,
        chain,
    } = position;
    format!("{epoch}.{offset}.{chain}")
}

fn parse_position(text: &str) -> Result<Position, Refused> {
    let numbers = text.split('.').map(str::parse::<u64>);
    let numbers: Result<Vec<u64>, _> = numbers.collect();
    let Ok(&[epoch, offset, chain]) = numbers.as_deref() else {
        let detail = "after is not a position; send `position` of an event or `next` of a page";
        return Err(Refused::invalid(detail));
    };
    Ok(Position {
        epoch,
        offset,
        chain,
    })
}

fn parse_cursor(text: &str) -> Result<ChannelCursor, Refused> {
    let parsed = text.split_once('.').and_then(|(shard, at)| {
        Some(ChannelCursor {
            shard: shard.parse().ok()?,
            at: at.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| Refused::because(ErrorCode::PageInvalid, "send `next` of the page before"))
}

fn query_of<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refused> {
    let read = Query::<T>::try_from_uri(uri);
    read.map(|query| query.0)
        .map_err(|error| Refused::invalid(error.body_text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_text_and_nothing_else_is_one() {
        let position = Position {
            epoch: u64::MAX,
            offset: 7,
            chain: u64::MAX - 1,
        };
        let read = parse_position(&position_text(position));
        assert_eq!(read.ok(), Some(position));
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "-1.2.3",
            "1.2.3.",
            "99999999999999999999.1.1",
        ] {
            assert!(parse_position(text).is_err(), "{text}");
        }
        for text in ["", "1", "1.2.3", "70000.1", "1.-1"] {
            assert!(parse_cursor(text).is_err(), "{text}");
        }
    }
}
