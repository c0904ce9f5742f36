//! What the API answers when it cannot do as asked: problem details (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::body::to_bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa::ToSchema;

use crate::control::app_orders::AppError;
use crate::control::assignments::AssignmentError;
use crate::control::callers::CallersError;
use crate::control::commands::CommandError;
use crate::control::flags::FlagError;
use crate::control::ports::StateError;
use crate::control::reload::ReloadError;

/// Why the API does not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// What was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// The path has no such method.
    #[error("this path has no such method")]
    MethodNotAllowed,
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// Whoever asks has not said who they are.
    #[error("{0}")]
    Unauthorized(String),
    /// The request came by a way that is not let in, or from somebody who may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The body is too long.
    #[error("the body has more than {0} bytes")]
    TooLong(usize),
    /// The body takes too long.
    #[error("the body was not complete within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// It comes too often.
    #[error("that was too often; wait as long as `Retry-After` says")]
    TooOften(Duration),
    /// It makes no sense now.
    #[error("{0}")]
    Conflict(String),
    /// It is not as whoever asks takes it to be.
    #[error("{0}")]
    Stale(String),
    /// What is in the configuration's file is not taken, for it is wrong; all that is.
    #[error("the configuration is refused, and the one before it goes on")]
    Unfit(Vec<String>),
    /// The definition of a flag is wrong; all that is.
    #[error("the definition is refused")]
    UnfitFlag(Vec<String>),
    /// There is no room for it.
    #[error("{0}")]
    Full(String),
    /// It cannot be done now.
    #[error("{0}")]
    Unavailable(String),
}

impl ApiError {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Stale(_) => StatusCode::PRECONDITION_FAILED,
            Self::Unfit(_) | Self::UnfitFlag(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NoRollout(_) => Self::NotFound(error.to_string()),
            CommandError::Refused(_) => Self::Conflict(error.to_string()),
            CommandError::NotWritten(_) | CommandError::Stopping => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

impl From<FlagError> for ApiError {
    fn from(error: FlagError) -> Self {
        let said = error.to_string();
        match error {
            FlagError::NoFlag(..) | FlagError::NoGroup(..) => Self::NotFound(said),
            FlagError::Share(..) => Self::BadRequest(said),
            FlagError::HasRollout(_)
            | FlagError::Declared(..)
            | FlagError::Exists(_)
            | FlagError::InUse(..)
            | FlagError::Refused(_) => Self::Conflict(said),
            FlagError::Stale { .. } | FlagError::IsThere(_) | FlagError::IsAbsent(_) => {
                Self::Stale(said)
            }
            FlagError::Unfit(problems) => Self::UnfitFlag(problems),
            FlagError::TooMany => Self::Full(said),
            FlagError::NotWritten(_) | FlagError::Stopping => Self::Unavailable(said),
        }
    }
}

impl From<CallersError> for ApiError {
    fn from(error: CallersError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<AssignmentError> for ApiError {
    fn from(error: AssignmentError) -> Self {
        let said = error.to_string();
        match error {
            AssignmentError::NoGroup(..) | AssignmentError::NotAssigned { .. } => {
                Self::NotFound(said)
            }
            AssignmentError::Full(_) => Self::Full(said),
            AssignmentError::NotWritten(_) | AssignmentError::Stopping => Self::Unavailable(said),
        }
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        let said = error.to_string();
        match error {
            AppError::NoApp(_) => Self::NotFound(said),
            AppError::Unfit(_) => Self::BadRequest(said),
            AppError::Exists(_)
            | AppError::Declared(_)
            | AppError::Final(..)
            | AppError::TooManyKeys(_) => Self::Conflict(said),
            AppError::Stale { .. } => Self::Stale(said),
            AppError::TooManyApps => Self::Full(said),
            AppError::NoRandomness(_) | AppError::NotWritten(_) | AppError::Stopping => {
                Self::Unavailable(said)
            }
        }
    }
}

impl From<ReloadError> for ApiError {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Refused(problems) => Self::Unfit(problems),
            ReloadError::NoFile => Self::Conflict(error.to_string()),
            ReloadError::Stopping => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        Self::Unavailable(format!("the state cannot be read: {error}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problems = match &self {
            Self::Unfit(problems) | Self::UnfitFlag(problems) => problems.as_slice(),
            _ => &[],
        };
        let mut response = problem(self.status(), &self.to_string(), problems);
        if let Self::TooOften(wait) = self {
            let seconds = wait.as_millis().div_ceil(1_000).max(1).to_string();
            let seconds = HeaderValue::try_from(seconds);
            let seconds = seconds.unwrap_or_else(|_| HeaderValue::from_static("60"));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if let Self::Unauthorized(_) = self {
            let how = HeaderValue::from_static("Bearer realm=\"serin\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}

/// What is wrong, as the document has it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it stands for a body")]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what kind it is.
    r#type: String,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// What is wrong, for people.
    detail: String,
    /// All that is wrong with a configuration, each with file, line and column.
    problems: Option<Vec<String>>,
}

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

fn problem(status: StatusCode, detail: &str, problems: &[String]) -> Response {
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    if !problems.is_empty() {
        body["problems"] = json!(problems);
    }
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM);
    response
}

/// Marks an answer whose form another standard gives, so that it is left as it is.
#[derive(Clone, Copy)]
pub(crate) struct InOwnWords;

/// The longest text that is made a problem's detail, in bytes; axum's own are one line.
const DETAIL_BYTES_MAX: usize = 1024;

/// Makes problems of what axum refuses by itself, such as a body that is too long, which it does
/// in plain text.
pub(crate) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE) == Some(&PROBLEM);
    let is_told = is_problem || response.extensions().get::<InOwnWords>().is_some();
    if !status.is_client_error() || is_told {
        return response;
    }
    let text = to_bytes(response.into_body(), DETAIL_BYTES_MAX).await;
    let text = text.unwrap_or_default();
    problem(status, &String::from_utf8_lossy(&text), &[])
}
