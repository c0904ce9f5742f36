//! Rollouts: where they are, and the verbs.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use crate::admin::AdminState;
use crate::admin::api::wish;
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::control::status::RolloutStatus;
use crate::domain::rollout::Command;

#[derive(Serialize)]
pub(crate) struct RolloutList {
    rollouts: Vec<RolloutStatus>,
}

pub(crate) async fn list(State(state): State<AdminState>) -> Json<RolloutList> {
    Json(RolloutList {
        rollouts: state.status.load().rollouts.clone(),
    })
}

pub(crate) async fn show(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
) -> Result<Json<RolloutStatus>, ApiError> {
    let status = state.status.load();
    let found = status
        .rollouts
        .iter()
        .find(|rollout| rollout.flag.as_str() == flag);
    found
        .cloned()
        .map(Json)
        .ok_or_else(|| ApiError::NotFound(format!("flag `{flag}` has no rollout")))
}

/// What may be said, as an example.
const EXAMPLE: &str = r#"{"reason": "…"}"#;

/// What may be said with a verb; nothing need be.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    /// Why, for the journal.
    reason: String,
    /// With `promote`: skip all stages that are left.
    full: bool,
}

pub(crate) async fn promote(
    state: State<AdminState>,
    flag: Path<String>,
    visitor: Extension<Visitor>,
    body: Bytes,
) -> Result<Json<RolloutStatus>, ApiError> {
    let wish: Wish = wish::read(&body, EXAMPLE)?;
    command(
        state,
        flag,
        visitor,
        Command::Promote { full: wish.full },
        wish.reason,
    )
    .await
}

pub(crate) async fn rollback(
    state: State<AdminState>,
    flag: Path<String>,
    visitor: Extension<Visitor>,
    body: Bytes,
) -> Result<Json<RolloutStatus>, ApiError> {
    let wish: Wish = wish::read(&body, EXAMPLE)?;
    if wish.full {
        return Err(ApiError::BadRequest(
            "`full` goes with promote only".to_owned(),
        ));
    }
    command(state, flag, visitor, Command::Rollback, wish.reason).await
}

async fn command(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
    Extension(visitor): Extension<Visitor>,
    command: Command,
    why: String,
) -> Result<Json<RolloutStatus>, ApiError> {
    let by = visitor.because(why);
    Ok(Json(state.commands.send(&flag, command, by).await?))
}
