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

use super::bodies::{Accepted, Batch, Broadcast, Failure, Outcome, Outcomes, Publish};
use super::describe::Described;
use super::failure::{status_of, Refused};
use super::limits::BODY_BYTES_MAX;
use super::{publish, ApiState};

/// A route that takes and gives JSON.
struct Route {
    path: &'static str,
    name: &'static str,
    summary: &'static str,
    text: &'static str,
    request: fn() -> Value,
    answer: fn() -> Value,
    handler: fn() -> MethodRouter<Arc<ApiState>>,
}

const ROUTES: [Route; 3] = [
    Route {
        path: "/v1/publish",
        name: "publish",
        summary: "Publishes one event.",
        text: "The answer is given when the event has reached the wanted level. With an \
               idempotency key the request may be repeated until an answer comes.",
        request: Publish::schema,
        answer: Accepted::schema,
        handler: || post(publish::one),
    },
    Route {
        path: "/v1/batch",
        name: "publishBatch",
        summary: "Publishes several events in their order.",
        text:
            "Each event has its own outcome. When one is refused for now, those behind it on the \
               same channel are refused too, so that they can be sent again in order.",
        request: Batch::schema,
        answer: Outcomes::schema,
        handler: || post(publish::several),
    },
    Route {
        path: "/v1/broadcast",
        name: "broadcast",
        summary: "Publishes one event on several channels.",
        text: "An idempotency key counts on each channel for itself.",
        request: Broadcast::schema,
        answer: Outcomes::schema,
        handler: || post(publish::to_several),
    },
];

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
        .map(|route| (route.path.to_owned(), json!({"post": operation(route)})))
        .collect();
    let schemas: Map<String, Value> = [
        Publish::declaration(),
        Batch::declaration(),
        Broadcast::declaration(),
        Accepted::declaration(),
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
            "description": "How back ends publish. Requests carry a token with the role service. \
                            Every refusal has the body Failure, whose codes are those of the \
                            error catalogue.",
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
    json!({
        "operationId": route.name,
        "summary": route.summary,
        "description": route.text,
        "requestBody": {"required": true, "content": content((route.request)())},
        "responses": responses,
    })
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
