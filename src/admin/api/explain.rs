//! Why a described request would go where it would go, by what decides requests now.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::wish;
use crate::admin::error::ApiError;
use crate::domain::app::AppStatus;
use crate::proxy::explain::{Known, explain as explain_request};
use crate::proxy::story::Story;
use crate::runtime::clock;

/// What may be said, as an example.
const EXAMPLE: &str = r#"{"method": "GET", "path": "/orders", "host": "shop.example", "headers": {"x-user-id": ["ann"]}, "ip": "192.0.2.1"}"#;

/// A request; what is left out is as in a plain one.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = RequestDescription)]
pub(crate) struct Wish {
    /// `GET`, unless said otherwise.
    #[schema(example = "GET")]
    method: Option<String>,
    /// `/`, unless said otherwise.
    #[schema(example = "/orders", pattern = "^/")]
    path: Option<String>,
    /// What comes after the `?`.
    query: Option<String>,
    /// The host that it asks for; `localhost`, unless said otherwise or `headers` have one.
    #[schema(example = "localhost")]
    host: Option<String>,
    /// Its header fields, each with its values.
    #[schema(example = json!({ "x-user-id": ["ann"] }))]
    headers: BTreeMap<String, Vec<String>>,
    /// The address that it comes from; 127.0.0.1, unless said otherwise.
    #[schema(value_type = Option<String>, example = "192.0.2.1")]
    ip: Option<IpAddr>,
}

/// Where it would go and why, as the document has it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it stands for a body")]
pub(crate) struct Explained {
    /// The route that fits best.
    route: Option<String>,
    /// The client's address behind trusted proxies.
    client_ip: Option<String>,
    /// The caller's key, if the request yields one.
    caller: Option<String>,
    /// The app that sends it, if it brings a key of one.
    app: Option<ExplainedApp>,
    /// `verified` if it brings a token that is believed, else why not; none if it brings none.
    token: Option<String>,
    /// The groups that the caller is in, in the order of the configuration.
    groups: Option<Vec<String>>,
    /// The learned segments that the caller is in, one for each model and source of features.
    segments: Option<Vec<ExplainedSegment>>,
    /// The flag that decides, if one does.
    flag: Option<ExplainedFlag>,
    /// The backend that would be asked; none where that is drawn anew for each request.
    backend: Option<String>,
    /// Why it would not be sent on, if it would not.
    refused: Option<ExplainedRefusal>,
    /// All of it in lines for people.
    text: String,
}

/// An app, as it stands.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it stands for a body")]
struct ExplainedApp {
    id: String,
    status: AppStatus,
    owner: String,
    attributes: BTreeMap<String, String>,
}

/// Where a learned model puts the caller.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it stands for a body")]
struct ExplainedSegment {
    /// None where the caller's features are not known, and no segment is said for that.
    segment: Option<String>,
    /// Why, in words: the nearest centre or the rule of the tree.
    why: String,
}

/// What a flag decides.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it stands for a body")]
struct ExplainedFlag {
    name: String,
    /// None where it is drawn anew for each request.
    variant: Option<String>,
    reason: String,
    /// The rule that fits, in words.
    rule: String,
    salt: String,
    /// 0 to 9999; none where it is drawn anew for each request.
    bucket: Option<u16>,
    /// What its rollout will make of such a request, where that is known.
    rollout: Option<String>,
}

/// Why a request would not be sent on.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it stands for a body")]
struct ExplainedRefusal {
    reason: String,
    /// What the client would be told.
    status: u16,
}

/// Where a request would go, and why; nothing is sent.
#[utoipa::path(
    post, path = "/api/v1/explain", tag = "status",
    request_body = Option<Wish>,
    responses((status = 200, description = "where it would go", body = Explained)),
)]
pub(crate) async fn explain(
    State(state): State<AdminState>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let wish: Wish = wish::read(&body, EXAMPLE)?;
    let peer = wish.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let request = request(wish)?;
    let published = state.published.load();
    let routing = &published.routing;
    let keys = state.keys.ring.load();
    let known = Known {
        assignments: &state.assignments,
        apps: &state.apps,
        pseudonyms: &state.pseudonyms,
        now: state.clock.now(),
        keys: &keys,
        wall_seconds: clock::wall().as_secs(),
        cookie_key: &state.cookie_key,
    };
    let explained = explain_request(routing, peer, request, known);
    Ok(Json(match explained {
        Ok(explanation) => {
            let story = Story {
                routing,
                explanation: &explanation,
                // What holds now is what is told.
                plan: None,
            };
            let mut told = story.to_json();
            told["text"] = json!(story.to_text());
            told
        }
        Err(refused) => json!({
            "refused": { "reason": refused.reason, "status": refused.status },
            "text": format!("not sent on: {refused}"),
        }),
    }))
}

fn request(wish: Wish) -> Result<Request<()>, ApiError> {
    let unfit = |key: &str, text: &str| {
        ApiError::BadRequest(format!("`{key}`: `{text}` is not one; expected {EXAMPLE}"))
    };
    let method = wish.method.as_deref().unwrap_or("GET");
    let method: Method = method.parse().map_err(|_| unfit("method", method))?;
    let path = wish.path.as_deref().unwrap_or("/");
    let target = match &wish.query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // A target that begins with a slash is a path, and nothing else.
    let target = Some(&target).filter(|target| target.starts_with('/'));
    let target: Option<Uri> = target.and_then(|target| target.parse().ok());
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = target.ok_or_else(|| unfit("path", path))?;
    let headers = request.headers_mut();
    for (name, values) in &wish.headers {
        let name: HeaderName = name.parse().map_err(|_| unfit("headers", name))?;
        for value in values {
            let value = HeaderValue::from_str(value).map_err(|_| unfit("headers", value))?;
            // As many as a request may have.
            let added = headers.try_append(name.clone(), value);
            added.map_err(|_| unfit("headers", name.as_str()))?;
        }
    }
    if wish.host.is_some() || !headers.contains_key(header::HOST) {
        let host = wish.host.as_deref().unwrap_or("localhost");
        let host = HeaderValue::from_str(host).map_err(|_| unfit("host", host))?;
        headers.insert(header::HOST, host);
    }
    Ok(request)
}
