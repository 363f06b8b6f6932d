//! The routes, declared once: the router and the OpenAPI document are made from this table.
//!
//! Runs on: the control thread.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{header, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post, MethodRouter};
use axum::Router;
use interlink_protocol::ErrorCode;
use serde_json::{json, Map, Value};

use super::bodies::{
    Accepted, ActiveChannel, ActiveChannels, Batch, Broadcast, ChannelsQuery, Disconnect,
    Disconnected, Failure, HistoryQuery, Membership, Outcome, Outcomes, PastEvent, PastEvents,
    PresenceQuery, PresentUser, PresentUsers, Publish, Revoke, RevokedTokens, Subscribed,
    Unsubscribed,
};
use super::describe::{parameters, Described};
use super::failure::{status_of, Refused};
use super::limits::{BODY_BYTES_MAX, LIST_UNITS};
use super::{orders, publish, reads, ApiState};

/// What a route takes.
enum Takes {
    /// A JSON body, by `POST`.
    Body(fn() -> Value),
    /// A query, by `GET`.
    Query(fn() -> (&'static str, Value)),
}

/// A route that gives JSON.
struct Route {
    path: &'static str,
    name: &'static str,
    summary: &'static str,
    text: &'static str,
    takes: Takes,
    answer: fn() -> Value,
    /// Whether the answer has many entries.
    has_many: bool,
    handler: fn() -> MethodRouter<Arc<ApiState>>,
}

static ROUTES: [Route; 10] = [
    Route {
        path: "/v1/publish",
        name: "publish",
        summary: "Publishes one event.",
        text: "The answer is given when the event has reached the wanted level. With an \
               idempotency key the request may be repeated until an answer comes.",
        takes: Takes::Body(Publish::schema),
        answer: Accepted::schema,
        has_many: false,
        handler: || post(publish::one),
    },
    Route {
        path: "/v1/batch",
        name: "publishBatch",
        summary: "Publishes several events in their order.",
        text: "Each event has its own outcome. When one is refused for now, those behind it on \
               the same channel are refused too, so that they can be sent again in order.",
        takes: Takes::Body(Batch::schema),
        answer: Outcomes::schema,
        has_many: true,
        handler: || post(publish::several),
    },
    Route {
        path: "/v1/broadcast",
        name: "broadcast",
        summary: "Publishes one event on several channels.",
        text: "An idempotency key counts on each channel for itself.",
        takes: Takes::Body(Broadcast::schema),
        answer: Outcomes::schema,
        has_many: true,
        handler: || post(publish::to_several),
    },
    Route {
        path: "/v1/disconnect",
        name: "disconnect",
        summary: "Closes every connection of a user.",
        text: "The user may connect again; to keep a user out, revoke the tokens as well. A \
               service of an institution reaches users of that institution only.",
        takes: Takes::Body(Disconnect::schema),
        answer: Disconnected::schema,
        has_many: false,
        handler: || post(orders::disconnect),
    },
    Route {
        path: "/v1/subscribe",
        name: "subscribe",
        summary: "Subscribes the connected sessions of a user to a channel.",
        text: "The service's word counts as a subscription token: the channel has to be one that \
               the user could subscribe to with a token. Clients are told, and may claim the \
               subscription, end it and make it again without a token as long as the session \
               lasts. A service of an institution reaches users of that institution only.",
        takes: Takes::Body(Membership::schema),
        answer: Subscribed::schema,
        has_many: false,
        handler: || post(orders::subscribe),
    },
    Route {
        path: "/v1/unsubscribe",
        name: "unsubscribe",
        summary: "Ends the subscriptions of a user to a channel.",
        text:
            "Takes back what subscribe gave. Clients are told; they may subscribe again if their \
               tokens permit it. A service of an institution reaches users of that institution \
               only.",
        takes: Takes::Body(Membership::schema),
        answer: Unsubscribed::schema,
        has_many: false,
        handler: || post(orders::unsubscribe),
    },
    Route {
        path: "/v1/tokens/revoke",
        name: "revokeTokens",
        summary: "Refuses tokens from now on.",
        text: "The answer is given when the revocation lasts over a restart. Open connections end \
               within a second, with the final close code `token_revoked`.",
        takes: Takes::Body(Revoke::schema),
        answer: RevokedTokens::schema,
        has_many: false,
        handler: || post(orders::revoke),
    },
    Route {
        path: "/v1/channels",
        name: "listChannels",
        summary: "Lists channels with subscribers.",
        text: "A service of an institution sees the channels that name it, and those that it \
               could subscribe to.",
        takes: Takes::Query(ChannelsQuery::declaration),
        answer: ActiveChannels::schema,
        has_many: true,
        handler: || get(reads::channels),
    },
    Route {
        path: "/v1/history",
        name: "readHistory",
        summary: "Reads past events of a channel, page by page.",
        text: "For channels that the service may list. `position_unknown` says that it is not \
               certain what follows the position; read from the oldest event then.",
        takes: Takes::Query(HistoryQuery::declaration),
        answer: PastEvents::schema,
        has_many: true,
        handler: || get(reads::history),
    },
    Route {
        path: "/v1/presence",
        name: "readPresence",
        summary: "Reads who is present in a channel, page by page.",
        text:
            "A user is present while one of the user's sessions subscribes to the channel and is \
               connected, and for a grace afterwards. For channels that the service may list and \
               whose namespace has presence.",
        takes: Takes::Query(PresenceQuery::declaration),
        answer: PresentUsers::schema,
        has_many: true,
        handler: || get(reads::presence),
    },
];

/// How many operations are told apart: the routes, and everything else.
pub const OPERATIONS: usize = ROUTES.len() + 1;

/// The operation that a path asks for.
pub fn operation_of(path: &str) -> usize {
    let found = ROUTES.iter().position(|route| route.path == path);
    found.unwrap_or(ROUTES.len())
}

/// Room that the answer of an operation may take.
pub fn answer_units(operation: usize) -> usize {
    match ROUTES.get(operation) {
        Some(route) if route.has_many => LIST_UNITS,
        _ => 1,
    }
}

/// Name of an operation for the metrics.
pub fn operation_name(operation: usize) -> &'static str {
    ROUTES.get(operation).map_or("other", |route| route.name)
}

/// Where the description of the API is.
pub const DESCRIPTION_PATH: &str = "/v1/openapi.json";

/// Every route.
pub fn router(state: Arc<ApiState>) -> Router {
    let mut router = Router::new();
    for route in &ROUTES {
        router = router.route(route.path, (route.handler)());
    }
    let text = document_text();
    let description = move || {
        let text = text.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], text) }
    };
    router
        .route(DESCRIPTION_PATH, get(description))
        .fallback(|| async {
            let known = "see /v1/openapi.json for what there is";
            Refused::because(ErrorCode::NotSupported, known)
        })
        .method_not_allowed_fallback(|| async {
            let mut answer = Refused::of(ErrorCode::NotSupported).into_response();
            *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            answer
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}

/// The document as it is committed and served.
pub fn document_text() -> String {
    // A value always serialises.
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

fn document() -> Value {
    let paths: Map<String, Value> = ROUTES
        .iter()
        .map(|route| {
            let method = match route.takes {
                Takes::Body(_) => "post",
                Takes::Query(_) => "get",
            };
            (route.path.to_owned(), json!({method: operation(route)}))
        })
        .collect();
    let schemas: Map<String, Value> = [
        Publish::declaration(),
        Batch::declaration(),
        Broadcast::declaration(),
        Accepted::declaration(),
        Disconnect::declaration(),
        Disconnected::declaration(),
        Membership::declaration(),
        Subscribed::declaration(),
        Unsubscribed::declaration(),
        Revoke::declaration(),
        RevokedTokens::declaration(),
        ActiveChannel::declaration(),
        ActiveChannels::declaration(),
        PastEvent::declaration(),
        PresentUser::declaration(),
        PresentUsers::declaration(),
        PastEvents::declaration(),
        Failure::declaration(),
        Outcome::declaration(),
        Outcomes::declaration(),
    ]
    .into_iter()
    .map(|(name, schema)| (name.to_owned(), schema))
    .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Interlink server API",
            "version": "1",
            "description": "How back ends publish and act on their users. Requests carry a token \
                            with the role service. Every refusal has the body Failure, whose \
                            codes are those of the error catalogue.",
        },
        "security": [{"service": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "service": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
            "schemas": schemas,
        },
    })
}

fn operation(route: &Route) -> Value {
    let content = |schema: Value| json!({"application/json": {"schema": schema}});
    let mut responses = Map::new();
    let answered = json!({"description": "Done.", "content": content((route.answer)())});
    responses.insert("200".to_owned(), answered);
    for code in ErrorCode::ALL {
        let status = status_of(code).as_u16().to_string();
        responses.entry(status).or_insert_with(
            || json!({"description": "Refused.", "content": content(Failure::schema())}),
        );
    }
    let mut described = json!({
        "operationId": route.name,
        "summary": route.summary,
        "description": route.text,
        "responses": responses,
    });
    match &route.takes {
        Takes::Body(schema) => {
            let body = json!({"required": true, "content": content(schema())});
            described["requestBody"] = body;
        }
        Takes::Query(declaration) => {
            described["parameters"] = parameters(declaration()).into();
        }
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the document is committed.
    fn committed() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("api/openapi.json")
    }

    #[test]
    fn the_committed_description_is_that_of_the_routes() {
        if std::env::var_os("INTERLINK_WRITE_OPENAPI").is_some() {
            std::fs::write(committed(), document_text()).expect("the file can be written");
        }
        let found = std::fs::read_to_string(committed()).unwrap_or_default();
        assert!(
            found == document_text(),
            "edge/api/openapi.json is not that of the routes; write it with \
             INTERLINK_WRITE_OPENAPI=1 cargo test -p interlink-edge --lib api"
        );
    }

    #[test]
    fn every_reference_of_the_description_leads_somewhere() {
        let document = document();
        let schemas = document["components"]["schemas"]
            .as_object()
            .expect("an object");
        let text = document.to_string();
        let mut parts = text.split("#/components/schemas/");
        parts.next();
        for part in parts {
            let name = part.split('"').next().unwrap_or_default();
            assert!(schemas.contains_key(name), "{name}");
        }
    }
}
