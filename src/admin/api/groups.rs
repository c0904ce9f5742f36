//! Groups: putting callers into them at run time.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::AdminState;
use crate::admin::api::wish;
use crate::admin::error::ApiError;
use crate::domain::caller::CALLER_KEY_BYTES_MAX;
use crate::domain::ids::GroupName;
use crate::runtime::assignments::Assignment;

/// The most callers that one answer lists.
const LISTED_MAX: usize = 1000;

/// A caller put into a group.
#[derive(Serialize)]
pub(crate) struct AssignedCaller {
    key: String,
    /// For how much longer, in seconds; for good, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_seconds: Option<f64>,
}

#[derive(Serialize)]
pub(crate) struct AssignedCallers {
    group: GroupName,
    callers: Vec<AssignedCaller>,
}

pub(crate) async fn list(
    State(state): State<AdminState>,
    Path(group): Path<String>,
) -> Result<Json<AssignedCallers>, ApiError> {
    let group = known_group(&state, &group)?;
    let now = state.clock.now();
    let callers = state.assignments.callers_in(&group, now, LISTED_MAX);
    let callers = callers.into_iter().map(|(key, expires)| AssignedCaller {
        key,
        expires_in_seconds: expires.map(|end| (end - now).as_secs_f64()),
    });
    Ok(Json(AssignedCallers {
        group,
        callers: callers.collect(),
    }))
}

/// What may be said, as an example.
const EXAMPLE: &str = r#"{"expires_in": "30m"}"#;

/// What may be said with an assignment; nothing need be.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// For how long, such as `30m`; for good, if absent.
    expires_in: Option<String>,
}

pub(crate) async fn assign(
    State(state): State<AdminState>,
    Path((group, key)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<AssignedCaller>, ApiError> {
    let group = known_group(&state, &group)?;
    if key.len() > CALLER_KEY_BYTES_MAX {
        let reason = format!("a caller's key has at most {CALLER_KEY_BYTES_MAX} bytes");
        return Err(ApiError::BadRequest(reason));
    }
    let lasting = wish::read::<Wish>(&body, EXAMPLE)?
        .expires_in
        .as_deref()
        .map(read_duration)
        .transpose()?;
    let expires = lasting.map(|lasting| state.clock.now() + lasting);
    state
        .assignments
        .assign(&key, Assignment { group, expires })?;
    Ok(Json(AssignedCaller {
        key,
        expires_in_seconds: lasting.map(|d| d.as_secs_f64()),
    }))
}

pub(crate) async fn remove(
    State(state): State<AdminState>,
    Path((group, key)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let group = known_group(&state, &group)?;
    if state.assignments.remove(&key, &group) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        let reason = format!("caller `{key}` was not assigned to group `{group}`");
        Err(ApiError::NotFound(reason))
    }
}

fn known_group(state: &AdminState, name: &str) -> Result<GroupName, ApiError> {
    let published = state.published.load();
    let groups = &published.routing.groups;
    let found = groups
        .index_of(name)
        .map(|place| groups.name(place).clone());
    found.ok_or_else(|| {
        let known: Vec<_> = groups
            .iter()
            .map(|(_, group)| group.name.as_str())
            .collect();
        ApiError::NotFound(format!(
            "no group `{name}`, there are: {}",
            known.join(", ")
        ))
    })
}

fn read_duration(text: &str) -> Result<Duration, ApiError> {
    humantime::parse_duration(text)
        .map_err(|error| ApiError::BadRequest(format!("`{text}` is not a duration: {error}")))
}
