//! Publishing: one event, several in order, one to several channels.
//!
//! Runs on: the control thread.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use interlink_protocol::claims::PackedClaims;
use interlink_protocol::registry::OPAQUE;
use interlink_protocol::ErrorCode;
use interlink_wire::AckLevel;

use super::bodies::{read, Accepted, Batch, Broadcast, Failure, Outcome, Outcomes, Publish, Taken};
use super::failure::{json, Refused};
use super::limits::KEY_BYTES_MAX;
use super::ApiState;
use crate::gateway::limits::PUBLISHES_PER_CALL_MAX;
use crate::gateway::{PublishAnswer, PublishRequest};

/// `POST /v1/publish`.
pub async fn one(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let request = request_of(read::<Publish>(body)?)?;
    match state.gateway.publish(Some(caller), request).await {
        // The request is counted as refused with its answer.
        PublishAnswer::Refused(refusal) => Ok(Refused::from(refusal).into_response()),
        answer => {
            state.counts.note_event(&answer);
            Ok(json(StatusCode::OK, &outcome_of(answer).accepted))
        }
    }
}

/// `POST /v1/batch`.
pub async fn several(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let batch = read::<Batch>(body)?;
    at_most(batch.publishes.len())?;
    let requests = batch.publishes.into_iter().map(request_of);
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    Ok(publish_all(&state, caller, requests).await)
}

/// `POST /v1/broadcast`.
pub async fn to_several(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Taken,
) -> Result<Response, Refused> {
    let caller = state.callers.identify(&headers)?;
    let broadcast = read::<Broadcast>(body)?;
    at_most(broadcast.channels.len())?;
    let event = request_of(broadcast.event)?;
    let bytes = event.payload.len() * broadcast.channels.len();
    if bytes > super::limits::BODY_BYTES_MAX {
        let detail = format!("{bytes} bytes of payload for all channels; broadcast to fewer");
        return Err(Refused::because(ErrorCode::FrameTooLarge, detail));
    }
    let requests = broadcast
        .channels
        .into_iter()
        .map(|channel| PublishRequest {
            channel,
            ..event.clone()
        });
    let requests = requests.collect();
    Ok(publish_all(&state, caller, requests).await)
}

async fn publish_all(
    state: &ApiState,
    caller: Arc<PackedClaims>,
    requests: Vec<PublishRequest>,
) -> Response {
    let answers = state.gateway.publish_all(Some(caller), requests).await;
    answers
        .iter()
        .for_each(|answer| state.counts.note_event(answer));
    let outcomes = answers.into_iter().map(outcome_of).collect();
    json(StatusCode::OK, &Outcomes { outcomes })
}

fn outcome_of(answer: PublishAnswer) -> Outcome {
    match answer {
        PublishAnswer::Accepted {
            record,
            level,
            repeat,
        } => Outcome {
            accepted: Some(Accepted {
                record: record.to_string(),
                level: match level {
                    AckLevel::Accepted => "accepted",
                    _ => "local",
                }
                .to_owned(),
                repeat,
            }),
            error: None,
        },
        PublishAnswer::Refused(refusal) => Outcome {
            accepted: None,
            error: Some(Failure::of(refusal, None)),
        },
    }
}

fn at_most(count: usize) -> Result<(), Refused> {
    if count <= PUBLISHES_PER_CALL_MAX {
        return Ok(());
    }
    let detail = format!("{count} events in one request, at most {PUBLISHES_PER_CALL_MAX}");
    Err(Refused::because(ErrorCode::TooManyItems, detail))
}

/// The publish that a body asks for. What is wrong with its form refuses the whole request.
fn request_of(publish: Publish) -> Result<PublishRequest, Refused> {
    let event_type = publish.event_type.unwrap_or(OPAQUE);
    let payload = match (publish.payload, publish.json) {
        (_, Some(_)) if event_type != OPAQUE => {
            let detail = "json is for opaque events; give the payload of event_type in base64, \
                          as its schema encodes it";
            return Err(Refused::invalid(detail));
        }
        (Some(text), None) => STANDARD
            .decode(text)
            .map_err(|error| Refused::invalid(format!("payload is not base64: {error}")))?,
        (None, Some(value)) => value.to_string().into_bytes(),
        (None, None) => {
            return Err(Refused::invalid(
                "neither payload nor json is given; give one",
            ))
        }
        (Some(_), Some(_)) => {
            return Err(Refused::invalid(
                "both payload and json are given; give one",
            ))
        }
    };
    let key = publish.idempotency_key;
    if key
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX)
    {
        let detail = format!("idempotency_key needs 1 to {KEY_BYTES_MAX} bytes");
        return Err(Refused::invalid(detail));
    }
    let level = match publish.ack_level.as_deref() {
        None => AckLevel::Default,
        Some("accepted") => AckLevel::Accepted,
        Some("local") => AckLevel::Local,
        Some(other) => {
            let detail = format!("ack_level `{other}` is neither `accepted` nor `local`");
            return Err(Refused::invalid(detail));
        }
    };
    Ok(PublishRequest {
        channel: publish.channel,
        event_type,
        schema_version: publish.schema_version.unwrap_or(1),
        payload,
        idempotency_key: key,
        age_ms: publish.age_ms.unwrap_or(0),
        time_to_live_ms: publish.time_to_live_ms.unwrap_or(0),
        conflation_key: publish.conflation_key,
        level,
        trace: None,
    })
}
