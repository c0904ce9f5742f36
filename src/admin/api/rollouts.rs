//! Rollouts: where they are, and the verbs.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::page::page;
use crate::admin::api::query::Written;
use crate::admin::api::{apart, wish, written};
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::admin::wire::RolloutList;
use crate::control::status::{PlanOutlook, RolloutStatus};
use crate::domain::ids::FlagName;
use crate::domain::rollout::Command;

/// All rollouts.
#[utoipa::path(
    get, path = "/api/v1/rollouts", tag = "rollouts",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "how many at the most"),
        ("after" = Option<FlagName>, Query, description = "`next` of the part before"),
    ),
    responses(
        (
            status = 200, description = "all rollouts, in the order of the configuration",
            body = RolloutList,
        ),
    ),
)]
pub(crate) async fn list(
    State(state): State<AdminState>,
    written: Written,
) -> Result<Json<RolloutList>, ApiError> {
    let status = state.status.load();
    let (rollouts, next) = page(&status.rollouts, written, |rollout| &rollout.flag)?;
    Ok(Json(RolloutList { rollouts, next }))
}

/// Where a rollout is.
#[utoipa::path(
    get, path = "/api/v1/rollouts/{flag}", tag = "rollouts",
    params(("flag" = FlagName, Path, description = "the flag's name")),
    responses(
        (status = 200, description = "where it is", body = RolloutStatus),
        (status = 404, description = "the flag has no rollout"),
    ),
)]
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

/// What its plan takes, at the rates of the last minutes.
#[utoipa::path(
    get, path = "/api/v1/rollouts/{flag}/plan", tag = "rollouts",
    params(("flag" = FlagName, Path, description = "the flag's name")),
    responses(
        (status = 200, description = "what it takes", body = PlanOutlook),
        (status = 404, description = "the flag has no rollout"),
    ),
)]
pub(crate) async fn plan(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
) -> Result<Json<PlanOutlook>, ApiError> {
    Ok(Json(state.commands.outlook(&flag).await?))
}

/// The media type of JSON lines.
const JSON_LINES: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/jsonl")];

/// What the judge was told, tick by tick.
#[utoipa::path(
    get, path = "/api/v1/rollouts/{flag}/trace", tag = "rollouts",
    params(("flag" = FlagName, Path, description = "the flag's name")),
    responses(
        (
            status = 200, description = "lines of JSON, as `serin replay` reads them",
            body = String, content_type = "application/jsonl",
        ),
        (status = 404, description = "the flag has no rollout, or none recorded"),
    ),
)]
pub(crate) async fn trace(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let recorded = state.recordings.of(&flag);
    let recorded = recorded.ok_or_else(|| {
        ApiError::NotFound(format!("flag `{flag}` has no rollout, or none recorded"))
    })?;
    // Megabytes: see `apart`.
    Ok((JSON_LINES, apart(move || recorded.trace()).await?))
}

/// What may be said, as an example.
const EXAMPLE: &str = r#"{"reason": "…"}"#;

/// What may be said with a verb; nothing need be.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = RolloutOrder)]
pub(crate) struct Wish {
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
    /// With `promote`: skip all stages that are left.
    full: bool,
}

/// Starts, pauses, promotes, rolls back and so on.
#[utoipa::path(
    post, path = "/api/v1/rollouts/{flag}/{verb}", tag = "rollouts",
    params(
        ("flag" = FlagName, Path, description = "the flag's name"),
        ("verb" = inline(Verb), Path, description = "what is to be done"),
    ),
    request_body = Option<Wish>,
    responses(
        (status = 200, description = "it is done; where the rollout is then", body = RolloutStatus),
        (status = 202, description = "the same, and not written down yet", body = RolloutStatus),
        (status = 404, description = "the flag has no rollout, or there is no such verb"),
        (status = 409, description = "it makes no sense where the rollout is"),
    ),
)]
pub(crate) async fn command(
    State(state): State<AdminState>,
    Path((flag, verb)): Path<(String, String)>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<(StatusCode, Json<RolloutStatus>), ApiError> {
    let mut commands = Command::ALL.into_iter();
    let Some(command) = commands.find(|command| command.as_str() == verb) else {
        return Err(ApiError::NotFound(format!(
            "there is no verb `{verb}`, only {}",
            verbs()
        )));
    };
    let Wish { reason, full } = wish::read(&body, EXAMPLE)?;
    let command = match command {
        Command::Promote { .. } => Command::Promote { full },
        _ if full => {
            let problem = "`full` goes with `promote` only".to_owned();
            return Err(ApiError::BadRequest(problem));
        }
        command => command,
    };
    let by = visitor.because(reason)?;
    let status = state.commands.send(&flag, command, by).await?;
    Ok((written(status.is_written), Json(status)))
}

/// The verbs, as the document has them.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "it stands for a text")]
enum Verb {
    Start,
    Pause,
    Resume,
    Promote,
    Rollback,
    Abort,
    Retry,
}

fn verbs() -> String {
    let mut words: Vec<_> = Command::ALL.map(Command::as_str).into();
    words.dedup();
    words.join(", ")
}
