//! Groups: which there are, and putting single callers into them at run time.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::query::{Parameters, Written};
use crate::admin::api::{apart, wish};
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::admin::wire::{AssignedCaller, CallersPage, GroupList, GroupSummary};
use crate::control::assignments::{AssignmentOrder, lasting};
use crate::control::status::{percent, split};
use crate::domain::caller::CALLER_KEY_BYTES_MAX;
use crate::domain::decision::StratumIndex;
use crate::domain::ids::GroupName;
use crate::domain::routing::RoutingSnapshot;

/// The most callers that one answer lists.
const LISTED_MAX: u64 = 1000;

/// The callers of an answer, unless said otherwise.
const LISTED_DEFAULT: u64 = 100;

/// All groups.
#[utoipa::path(
    get, path = "/api/v1/groups", tag = "groups",
    responses((status = 200, description = "all groups", body = GroupList)),
)]
pub(crate) async fn list(State(state): State<AdminState>) -> Result<Json<GroupList>, ApiError> {
    let groups = apart(move || summaries(&state)).await?;
    Ok(Json(GroupList { groups }))
}

/// A group at one look.
#[utoipa::path(
    get, path = "/api/v1/groups/{group}", tag = "groups",
    params(("group" = GroupName, Path, description = "the group's name")),
    responses(
        (status = 200, description = "the group", body = GroupSummary),
        (status = 404, description = "there is no such group"),
    ),
)]
pub(crate) async fn show(
    State(state): State<AdminState>,
    Path(group): Path<String>,
) -> Result<Json<GroupSummary>, ApiError> {
    let groups = apart(move || summaries(&state)).await?;
    let known: Vec<_> = groups.iter().map(|known| known.group.as_str()).collect();
    let unknown = no_group(&group, &known);
    let mut groups = groups.into_iter();
    let found = groups.find(|known| known.group.as_str() == group);
    found.map(Json).ok_or(unknown)
}

fn summaries(state: &AdminState) -> Vec<GroupSummary> {
    let published = state.published.load();
    let routing = &published.routing;
    let mut assigned = state.assignments.counts(state.clock.now());
    let summary = |name: &GroupName, is_configured, assigned| {
        let mut summary = GroupSummary {
            group: name.clone(),
            is_configured,
            assigned,
            flags: BTreeMap::new(),
            splits: BTreeMap::new(),
        };
        add_flags(&mut summary, routing);
        summary
    };
    let mut groups = Vec::new();
    for (_, group) in routing.groups.iter() {
        let assigned = assigned.remove(&group.name).unwrap_or_default();
        groups.push(summary(&group.name, true, assigned));
    }
    let left = assigned.iter();
    groups.extend(left.map(|(name, assigned)| summary(name, false, *assigned)));
    groups
}

/// Adds the flags that name a group, with its weights.
fn add_flags(summary: &mut GroupSummary, routing: &RoutingSnapshot) {
    let Some(index) = routing.groups.index_of(summary.group.as_str()) else {
        return;
    };
    for flag in &routing.flags {
        let mut named = flag.weights.groups.iter();
        let Some(place) = named.position(|entry| entry.group == index) else {
            continue;
        };
        let weight = percent(flag.weights.groups[place].weight);
        summary.flags.insert(flag.name.clone(), weight);
        let share = flag.weights.share(StratumIndex(place), &flag.variants);
        let parts = split(share);
        if !parts.is_empty() {
            summary.splits.insert(flag.name.clone(), parts);
        }
    }
}

/// Callers who were put into a group at run time, by their keys, which are for operators.
#[utoipa::path(
    get, path = "/api/v1/groups/{group}/callers", tag = "groups",
    params(
        ("group" = GroupName, Path, description = "the group's name"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "the most callers; 100"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "in the order of their keys", body = CallersPage),
        (status = 404, description = "there is no such group"),
    ),
)]
pub(crate) async fn callers(
    State(state): State<AdminState>,
    Path(group): Path<String>,
    Extension(visitor): Extension<Visitor>,
    written: Written,
) -> Result<Json<CallersPage>, ApiError> {
    state.gate.demand_operator(&visitor, state.clock.now())?;
    let parameters = Parameters::read(written, &["limit", "after"])?;
    let limit = parameters.number("limit", 1..=LISTED_MAX)?;
    let limit = usize::try_from(limit.unwrap_or(LISTED_DEFAULT)).unwrap_or(usize::MAX);
    let after = parameters.text("after").map(ToOwned::to_owned);
    let page = apart(move || page(&state, &group, (after.as_deref(), limit)));
    page.await?.map(Json)
}

fn page(
    state: &AdminState,
    group: &str,
    wanted: (Option<&str>, usize),
) -> Result<CallersPage, ApiError> {
    let group = listed_group(state, group)?;
    let now = state.clock.now();
    let callers = state.assignments.callers_in(&group, now, wanted);
    let callers = callers.into_iter().map(|(key, expires)| {
        let left = expires.map(|end| end - now);
        AssignedCaller::new(key, left, state.pseudonyms.get())
    });
    let callers: Vec<_> = callers.collect();
    let next = callers.last().map(|caller| caller.key.clone());
    Ok(CallersPage {
        group,
        next: next.filter(|_| callers.len() == wanted.1),
        callers,
    })
}

/// A group of the configuration, or one that it has no more and that has callers.
fn listed_group(state: &AdminState, name: &str) -> Result<GroupName, ApiError> {
    let published = state.published.load();
    let groups = &published.routing.groups;
    if let Some(place) = groups.index_of(name) {
        return Ok(groups.name(place).clone());
    }
    let mut left = state.assignments.counts(state.clock.now()).into_keys();
    left.find(|group| group.as_str() == name).ok_or_else(|| {
        let known: Vec<_> = groups
            .iter()
            .map(|(_, group)| group.name.as_str())
            .collect();
        no_group(name, &known)
    })
}

fn no_group(name: &str, known: &[&str]) -> ApiError {
    let known = known.join(", ");
    ApiError::NotFound(format!("no group `{name}`, there are: {known}"))
}

/// What may be said, as an example.
const EXAMPLE: &str = r#"{"expires_in": "30m", "reason": "…"}"#;

/// What may be said with an assignment; nothing need be.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Assignment)]
pub(crate) struct Wish {
    /// For how long, such as `30m`; for good, if absent.
    #[schema(example = "30m")]
    expires_in: Option<String>,
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// What may be said with the end of one, as an example.
const REMOVE_EXAMPLE: &str = r#"{"reason": "…"}"#;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Removal)]
pub(crate) struct RemoveWish {
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// Puts a caller into a group.
#[utoipa::path(
    put, path = "/api/v1/groups/{group}/callers/{key}", tag = "groups",
    params(
        ("group" = GroupName, Path, description = "the group's name"),
        ("key" = String, Path, max_length = 256, description = "the caller's key"),
    ),
    request_body = Option<Wish>,
    responses(
        (
            status = 200, description = "the caller is in it from the next request on",
            body = AssignedCaller,
        ),
        (status = 404, description = "there is no such group"),
        (status = 507, description = "there is no room for more callers"),
    ),
)]
pub(crate) async fn assign(
    State(state): State<AdminState>,
    Path((group, key)): Path<(String, String)>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<Json<AssignedCaller>, ApiError> {
    if key.len() > CALLER_KEY_BYTES_MAX {
        let reason = format!("a caller's key has at most {CALLER_KEY_BYTES_MAX} bytes");
        return Err(ApiError::BadRequest(reason));
    }
    let wish: Wish = wish::read(&body, EXAMPLE)?;
    let by = visitor.because(wish.reason)?;
    let expires_in = wish.expires_in.as_deref().map(read_duration).transpose()?;
    let order = AssignmentOrder::Assign(expires_in);
    state.commands.assign((&group, &key), order, by).await?;
    Ok(Json(AssignedCaller::new(
        key,
        expires_in,
        state.pseudonyms.get(),
    )))
}

/// Takes a caller out of a group again.
#[utoipa::path(
    delete, path = "/api/v1/groups/{group}/callers/{key}", tag = "groups",
    params(
        ("group" = GroupName, Path, description = "the group's name"),
        ("key" = String, Path, max_length = 256, description = "the caller's key"),
    ),
    request_body = Option<RemoveWish>,
    responses(
        (status = 204, description = "the caller is in it no longer"),
        (status = 404, description = "there is no such group, or the caller was not put into it"),
    ),
)]
pub(crate) async fn remove(
    State(state): State<AdminState>,
    Path((group, key)): Path<(String, String)>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let RemoveWish { reason } = wish::read(&body, REMOVE_EXAMPLE)?;
    let by = visitor.because(reason)?;
    let order = AssignmentOrder::Remove;
    state.commands.assign((&group, &key), order, by).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read_duration(text: &str) -> Result<Duration, ApiError> {
    lasting(text).map_err(|problem| ApiError::BadRequest(format!("`expires_in`: {problem}")))
}
