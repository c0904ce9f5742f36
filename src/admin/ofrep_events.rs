//! Tells applications that what flags give them may have changed (OFREP 0.3, event streams): they ask again then,
//! and get nothing new where it has not.
//!
//! An event's identifier counts what was published and assigned in this process. One comes at the beginning,
//! unless the client has seen it, so that nothing is missed between an answer and the stream; several changes
//! at once are one event.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::admin::AdminState;
use crate::admin::error::ApiError;
use crate::admin::sse::{Event, Outlet, last_event_id};
use crate::runtime::clock;
use crate::runtime::published::Subscriber;

/// Where the stream is.
pub(super) const PATH: &str = "/ofrep/v1/events";

/// How long an application may be out of use before it is to close its stream, in seconds: they are few.
const INACTIVITY_SECONDS: u32 = 120;

/// What the answer about all flags says of streams. Without an origin it is the one that was asked.
pub(super) fn streams() -> Value {
    json!([{
        "type": "sse",
        "endpoint": { "requestUri": PATH },
        "inactivityDelaySec": INACTIVITY_SECONDS,
    }])
}

/// Opens a stream.
#[utoipa::path(
    get, path = "/ofrep/v1/events", tag = "ofrep",
    params(("last-event-id" = Option<String>, Header, description = "what was seen last")),
    responses(
        (
            status = 200, description = "a stream of events: `refetchEvaluation` as `type` of the data",
            body = String, content_type = "text/event-stream",
        ),
    ),
)]
pub(crate) async fn events(
    State(state): State<AdminState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (outlet, response) = state.streams.open()?;
    let seen = last_event_id(&headers).map(str::to_owned);
    let assigned = state.assignments.changes();
    let began = state.streams.began_unix_ms();
    tokio::spawn(tell((outlet, began), state.published, assigned, seen));
    Ok(response)
}

/// Tells of changes until the client has gone.
async fn tell(
    (outlet, began): (Outlet, u64),
    mut published: Subscriber,
    mut assigned: watch::Receiver<u64>,
    mut told: Option<String>,
) {
    loop {
        // What comes from here on wakes the wait below.
        published.refresh();
        // Another wherever a flag may decide otherwise; also where nothing has changed by it.
        let (version, assigned_so_far) = (published.version(), *assigned.borrow_and_update());
        let id = format!("{began:x}-{version:x}-{assigned_so_far:x}");
        if told.as_ref() != Some(&id) {
            let data = json!({
                "type": "refetchEvaluation",
                "etag": format!("\"{id}\""),
                "lastModified": clock::wall().as_secs(),
            });
            if !outlet
                .send(&Event::named("message", &data).with_id(id.clone()))
                .await
            {
                return;
            }
            told = Some(id);
        }
        tokio::select! {
            _ = published.changed() => {}
            Ok(()) = assigned.changed() => {}
            () = outlet.closed() => return,
        }
    }
}
