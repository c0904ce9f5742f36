//! What callers say: servers pass it on, and people read it.

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::query::{Parameters, Written};
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::admin::wire::{FeedbackPage, FlagComment, FlagRatings, RatingReceipt, RatingReceipts};
use crate::control::ratings::FeedbackStatus;
use crate::domain::caller::CALLER_KEY_BYTES_MAX;
use crate::domain::feedback::{Counted, Handed, WrittenRating, read};
use crate::domain::ids::FlagName;
use crate::runtime::clock;
use crate::runtime::feedback::{Receipt, Refusal, Said};

/// The most ratings of one request; they have to fit into a body besides.
const RATINGS_MAX: usize = 200;

/// The most comments of one answer.
const COMMENTS_MAX: u64 = 1_000;

/// The comments of an answer, unless said otherwise.
const COMMENTS_DEFAULT: u64 = 100;

/// What is handed in.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it stands for a body")]
pub(crate) enum Ratings {
    /// One rating.
    One(WrittenRating),
    /// A list of at most 200.
    Many(Vec<WrittenRating>),
}

/// What became of it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Answered {
    /// Of one rating.
    One(Box<RatingReceipt>),
    /// Of a list.
    Many(RatingReceipts),
}

/// Hands in what callers say of the variants that they were shown.
#[utoipa::path(
    post, path = "/api/v1/feedback", tag = "feedback",
    request_body = Ratings,
    responses(
        (status = 200, description = "it counts; of a list, what became of each", body = Answered),
        (status = 404, description = "there is no such flag"),
        (status = 409, description = "the caller was shown nothing of the release, or the flag takes no feedback now"),
        (status = 429, description = "too often; `Retry-After` says how long to wait"),
        (status = 507, description = "there is no room for more callers"),
    ),
)]
pub(crate) async fn hand_in(
    State(state): State<AdminState>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<Json<Answered>, ApiError> {
    let handed = read(&body, RATINGS_MAX).map_err(ApiError::BadRequest)?;
    match handed {
        Handed::One(written) => {
            let flag = written.flag.clone();
            let receipt = counted(flag, rate(&state, &visitor, *written)?);
            Ok(Json(Answered::One(Box::new(receipt))))
        }
        Handed::Many(list) => {
            let results = list.into_iter().map(|written| {
                let flag = written.flag.clone();
                match rate(&state, &visitor, written) {
                    Ok(receipt) => counted(flag, receipt),
                    Err(error) => refused(flag, &error),
                }
            });
            let results = results.collect();
            Ok(Json(Answered::Many(RatingReceipts { results })))
        }
    }
}

fn rate(
    state: &AdminState,
    visitor: &Visitor,
    written: WrittenRating,
) -> Result<Receipt, ApiError> {
    let key = written.caller.filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| ApiError::BadRequest("`caller` says who rates".to_owned()))?;
    if key.len() > CALLER_KEY_BYTES_MAX {
        let reason = format!("a caller's key has at most {CALLER_KEY_BYTES_MAX} bytes");
        return Err(ApiError::BadRequest(reason));
    }
    let published = state.published.load();
    let name = &written.flag;
    let mut flags = published.routing.flags.iter();
    let flag = flags.find(|flag| flag.name == *name);
    let flag = flag.ok_or_else(|| ApiError::NotFound(format!("no flag `{name}`")))?;
    let hash = flag
        .hash_of(&key)
        .ok_or_else(|| refusal(Refusal::NotTaken, name))?;
    let said = Said {
        rating: written.rating,
        comment: written.comment,
        by: Some(visitor.name().to_owned()),
        made_up_at: None,
        at_unix_ms: u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX),
    };
    let taken = state
        .feedback
        .rate(name, (hash, &key), said, state.clock.now());
    taken.map_err(|why| refusal(why, name))
}

fn refusal(why: Refusal, flag: &FlagName) -> ApiError {
    match why {
        Refusal::NotTaken => ApiError::Conflict(format!(
            "flag `{flag}` takes no feedback now: canary has no callers, or nothing asks for feedback \
             (`checks.feedback`, `release_when`, or `feedback: true` at a listener)"
        )),
        Refusal::NotExposed => ApiError::Conflict(format!(
            "it is not known that this caller was shown a variant of flag `{flag}` under the release that \
             is rated"
        )),
        Refusal::TooOften(wait) => ApiError::TooOften(wait),
        Refusal::Source | Refusal::Full => {
            ApiError::Full("there are as many ratings as there may be".to_owned())
        }
    }
}

/// Does not say what the caller is called: whoever may try keys could find out whose a pseudonym is, which is for
/// operators.
fn counted(flag: FlagName, Receipt { counted, shown }: Receipt) -> RatingReceipt {
    let result = match counted {
        Counted::Recorded => "recorded",
        Counted::Changed => "changed",
        Counted::Unchanged => "unchanged",
    };
    RatingReceipt {
        flag,
        status: 200,
        result: Some(result.to_owned()),
        variant: Some(shown.variant.to_string()),
        group: shown.group,
        detail: None,
    }
}

fn refused(flag: FlagName, error: &ApiError) -> RatingReceipt {
    RatingReceipt {
        flag,
        status: error.status().as_u16(),
        result: None,
        variant: None,
        group: None,
        detail: Some(error.to_string()),
    }
}

/// How callers rate what they were shown, and what they say.
#[utoipa::path(
    get, path = "/api/v1/feedback", tag = "feedback",
    params(
        ("flag" = Option<FlagName>, Query, description = "of this flag only"),
        (
            "limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
            description = "how many comments at the most, 100 unless said otherwise",
        ),
        ("before" = Option<u64>, Query, minimum = 0, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "comments newest first", body = FeedbackPage),
        (status = 404, description = "there is no such flag"),
    ),
)]
pub(crate) async fn list(
    State(state): State<AdminState>,
    written: Written,
) -> Result<Json<FeedbackPage>, ApiError> {
    let parameters = Parameters::read(written, &["flag", "limit", "before"])?;
    let flag = parameters.flag("flag")?;
    if let Some(flag) = &flag {
        let published = state.published.load();
        let is_known = published.routing.flags.iter().any(|it| it.name == *flag);
        if !is_known && !state.feedback.has(flag) {
            return Err(ApiError::NotFound(format!("no flag `{flag}`")));
        }
    }
    let limit = parameters.number("limit", 1..=COMMENTS_MAX)?;
    let limit = usize::try_from(limit.unwrap_or(COMMENTS_DEFAULT)).unwrap_or(usize::MAX);
    let before = parameters.number("before", 0..=u64::MAX)?;
    let comments = state.feedback.comments(flag.as_ref(), before, limit);
    let next = comments.last().map(|(_, comment)| comment.number);
    let next = next.filter(|_| comments.len() == limit);
    let rated = state.feedback.rated().into_iter();
    let rated = rated.filter(|(name, ..)| flag.as_ref().is_none_or(|flag| flag == name));
    Ok(Json(FeedbackPage {
        ratings: rated
            .map(|(flag, revision, raters)| FlagRatings {
                flag,
                revision,
                arms: FeedbackStatus::of(&raters),
            })
            .collect(),
        comments: comments
            .into_iter()
            .map(|(flag, comment)| FlagComment { flag, comment })
            .collect(),
        next,
    }))
}
