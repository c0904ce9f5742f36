//! What was done and why, and what was seen.

use axum::Json;
use axum::extract::{Path, State};

use crate::admin::AdminState;
use crate::admin::api::apart;
use crate::admin::api::query::{Parameters, Written};
use crate::admin::error::ApiError;
use crate::admin::wire::{History, JournalPage};
use crate::control::ports::{JournalQuery, StateError, Subject};
use crate::domain::ids::{AppId, FlagName, GroupName};
use crate::runtime::clock;

/// The most lines of one answer.
const LINES_MAX: u64 = 1000;

/// The lines of an answer, unless said otherwise: more than a screen, less than a download.
const LINES_DEFAULT: u64 = 100;

/// What was done, by whom, and why.
#[utoipa::path(
    get, path = "/api/v1/journal", tag = "journal",
    params(
        ("flag" = Option<FlagName>, Query, description = "of this flag only"),
        ("group" = Option<GroupName>, Query, description = "of this group only"),
        ("app" = Option<AppId>, Query, description = "of this app only"),
        (
            "limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
            description = "how many at the most, 100 unless said otherwise",
        ),
        ("before" = Option<u64>, Query, minimum = 0, description = "`next` of the page before"),
        (
            "since" = Option<String>, Query, example = "1h",
            description = "a moment such as `2026-01-31T08:00:00Z`, the time since then such as `1h`, or milliseconds since 1970",
        ),
    ),
    responses((status = 200, description = "newest first", body = JournalPage)),
)]
pub(crate) async fn journal(
    State(state): State<AdminState>,
    written: Written,
) -> Result<Json<JournalPage>, ApiError> {
    let parameters = Parameters::read(
        written,
        &["flag", "group", "app", "limit", "before", "since"],
    )?;
    let limit = parameters.number("limit", 1..=LINES_MAX)?;
    let limit = usize::try_from(limit.unwrap_or(LINES_DEFAULT)).unwrap_or(usize::MAX);
    let query = JournalQuery {
        subject: subject(&parameters)?,
        before: parameters.number("before", 0..=u64::MAX)?,
        after: None,
        since_unix_ms: parameters.moment("since", now_unix_ms())?,
        limit,
    };
    let page = apart(move || {
        let lines = state.reader.journal(&query)?;
        let next = lines.last().map(|line| line.sequence);
        Ok::<_, StateError>(JournalPage {
            next: next.filter(|_| lines.len() == limit),
            lines: lines.into_iter().map(Into::into).collect(),
        })
    });
    Ok(Json(page.await??))
}

/// Whom the lines are to be about, if it matters.
fn subject(parameters: &Parameters) -> Result<Option<Subject>, ApiError> {
    let (flag, group) = (parameters.flag("flag")?, parameters.group("group")?);
    let subjects = [
        flag.map(Subject::Flag),
        group.map(Subject::Group),
        parameters.app("app")?.map(Subject::App),
    ];
    let mut subjects = subjects.into_iter().flatten();
    let subject = subjects.next();
    if subjects.next().is_some() {
        let problem = "`flag`, `group` and `app` are asked for one at a time";
        return Err(ApiError::BadRequest(problem.to_owned()));
    }
    Ok(subject)
}

/// What was seen of both arms.
#[utoipa::path(
    get, path = "/api/v1/rollouts/{flag}/history", tag = "rollouts",
    params(
        ("flag" = FlagName, Path, description = "the flag's name"),
        ("from" = Option<String>, Query, example = "1h", description = "as `since` of the journal"),
        ("to" = Option<String>, Query, example = "1m", description = "the same"),
    ),
    responses(
        (status = 200, description = "oldest first; what is older is coarser", body = History),
        (status = 404, description = "the flag has no rollout"),
    ),
)]
pub(crate) async fn history(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
    written: Written,
) -> Result<Json<History>, ApiError> {
    let parameters = Parameters::read(written, &["from", "to"])?;
    let now = now_unix_ms();
    let from = parameters.moment("from", now)?.unwrap_or(0);
    let to = parameters.moment("to", now)?.unwrap_or(u64::MAX);
    let unknown = || ApiError::NotFound(format!("flag `{flag}` has no rollout"));
    let name: FlagName = flag.parse().map_err(|_| unknown())?;
    let status = state.status.load();
    let is_known = status.rollouts.iter().any(|rollout| rollout.flag == name);
    let history = apart(move || {
        let points = state.reader.history(&name, from, to)?;
        Ok::<_, StateError>(History {
            flag: name,
            points: points.into_iter().map(Into::into).collect(),
        })
    });
    let history = history.await??;
    if history.points.is_empty() && !is_known {
        return Err(unknown());
    }
    Ok(Json(history))
}

fn now_unix_ms() -> u64 {
    u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX)
}
