//! The API's description (OpenAPI 3.1), made of what is written above the handlers.
//!
//! What holds of every operation, such as that it may need a token, is added here, and so is the form of
//! everything that goes wrong; a handler tells of what is its own.

use axum::Extension;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::admin::AdminState;
use crate::admin::auth::OPEN_PATHS;
use crate::admin::error::Problem;
use crate::config;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Serin API",
        description = "Rollouts, flags, groups, apps and the journal of one Serin, and its flags for applications. \
                       What goes wrong is told as a problem (RFC 9457). A method that a path does not have is 405.",
        version = env!("CARGO_PKG_VERSION"),
        contact(name = "Serin maintainers"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "status", description = "Everything at one look, and what concerns everything"),
        (name = "config", description = "What is configured"),
        (name = "flags", description = "What is set of flags at run time"),
        (name = "rollouts", description = "Where rollouts are, and the verbs"),
        (name = "groups", description = "Callers put into groups at run time"),
        (name = "apps", description = "Third-party applications, their review and their keys"),
        (name = "feedback", description = "What callers say of what they were shown"),
        (name = "journal", description = "What was done, by whom, and why"),
        (name = "events", description = "What happens, as it happens"),
        (name = "ofrep", description = "Flags for applications (OpenFeature Remote Evaluation Protocol)"),
        (name = "health", description = "For load balancers and Prometheus"),
        (name = "api", description = "This document"),
    ),
    components(schemas(Problem)),
)]
struct Described;

/// A router to which routes are added with what is written above their handlers.
pub(super) fn begin() -> OpenApiRouter<AdminState> {
    OpenApiRouter::with_openapi(Described::openapi())
}

/// The document as it is sent.
#[derive(Clone)]
pub(super) struct Document(Bytes);

impl Document {
    /// Completes what was gathered with the routes.
    pub(super) fn new(gathered: utoipa::openapi::OpenApi) -> Self {
        // It is texts and maps with texts as keys, which can be written.
        let mut document = serde_json::to_value(gathered).unwrap_or_default();
        complete(&mut document);
        Self(Bytes::from(document.to_string()))
    }
}

/// This document.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "api",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
pub(super) async fn document(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.0)
}

/// The name of the scheme by which a token is brought.
const BEARER: &str = "bearer";

/// The same for applications.
const API_KEY: &str = "api_key";

fn complete(document: &mut Value) {
    // Where there are no tokens, nobody needs one.
    document["security"] = json!([{ BEARER: [] }, {}]);
    document["components"]["securitySchemes"] = json!({
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `admin.tokens`; needed where there are some. A `viewer` looks, an `operator` commands, `feedback` passes on what callers say.",
        },
        API_KEY: {
            "type": "apiKey",
            "in": "header",
            "name": "x-api-key",
            "description": "The same token, as clients of OFREP bring it; below `/ofrep/` only.",
        },
    });
    describe_definitions(document);
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    for (path, item) in paths {
        let operations = item.as_object_mut().into_iter().flatten();
        for operation in operations.filter_map(|(_, operation)| operation.as_object_mut()) {
            complete_operation(path, operation);
        }
    }
}

/// What a flag may be defined as is what the configuration says of it.
fn describe_definitions(document: &mut Value) {
    /// Where schemas stand.
    const SCHEMAS: &str = "#/components/schemas/";
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.extend(config::flag_schemas(SCHEMAS));
    }
    let body = &mut document["paths"]["/api/v1/flags/{flag}"]["put"]["requestBody"];
    let schema = &mut body["content"]["application/json"]["schema"];
    *schema = json!({ "$ref": format!("{SCHEMAS}{}", config::FLAG_SCHEMA) });
}

fn complete_operation(path: &str, operation: &mut Map<String, Value>) {
    // Handlers of one name stand in several files.
    if let (Some(tag), Some(name)) = (
        operation["tags"][0].as_str(),
        operation["operationId"].as_str(),
    ) {
        operation["operationId"] = json!(format!("{tag}_{name}"));
    }
    let is_open = OPEN_PATHS.contains(&path);
    let says_something =
        operation.contains_key("parameters") || operation.contains_key("requestBody");
    if is_open {
        operation.insert("security".to_owned(), json!([]));
    } else if path.starts_with("/ofrep/") {
        let schemes = json!([{ BEARER: [] }, { API_KEY: [] }, {}]);
        operation.insert("security".to_owned(), schemes);
    }
    let always = [
        ("400", "it makes no sense", says_something),
        ("401", "a token is needed", !is_open),
        ("403", "this may not be done, or not from there", true),
        ("408", "the body does not come", true),
        ("413", "the body has more than 64 KiB", true),
        ("503", "it cannot be done now", true),
    ];
    for parameter in operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        without_null(&mut parameter["schema"]);
    }
    if let Some(body) = operation.get_mut("requestBody") {
        without_null(&mut body["content"]["application/json"]["schema"]);
    }
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, description, _) in always.iter().filter(|(_, _, applies)| *applies) {
        let response = responses.entry(*status);
        response.or_insert_with(|| json!({ "description": description }));
    }
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    for (status, response) in responses.iter_mut() {
        if status.as_str() >= "400" {
            response["content"]["application/problem+json"] = problem.clone();
        }
        if status == "401" {
            response["headers"]["www-authenticate"] = json!({ "schema": { "type": "string" } });
        }
    }
}

/// What need not be said is left out, and not said to be null.
fn without_null(schema: &mut Value) {
    let is_null = |kind: &Value| kind == "null" || kind["type"] == "null";
    for key in ["type", "oneOf"] {
        let Some(kinds) = schema[key].as_array() else {
            continue;
        };
        let mut kinds = kinds.iter().filter(|kind| !is_null(kind)).cloned();
        if let (Some(kind), None) = (kinds.next(), kinds.next()) {
            if key == "type" {
                schema[key] = kind;
            } else {
                *schema = kind;
            }
        }
    }
}
