//! What one client may take of the admin listener: bytes, time, connections.

use std::error::Error as _;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::admin::error::ApiError;

/// The largest body of a request; commands are short.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a body may take that is so short.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take. Whatever is asked of the controller is done within a tick, and
/// what is written down within seconds, or not at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest head of a request, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// How long a client may take to send a head, or lie idle: longer than the intervals at which
/// scrapers come, so that they keep their connection.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection may be used before it is closed between two requests: nobody holds one
/// of few places for ever.
pub(super) const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);

/// How long the answer under way may take then.
pub(super) const CONNECTION_LINGER: Duration = Duration::from_secs(30);

/// Connections at a time; operators, scrapers and load balancers are few. More have to wait.
pub(super) const CONNECTIONS_MAX: usize = 256;

/// Takes in the whole body before anything is done about it, and says so when the answer takes too
/// long. A slow client so holds its own connection and nothing else.
pub(super) async fn limited(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = match timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error))
            if error
                .source()
                .is_some_and(|source| source.is::<LengthLimitError>()) =>
        {
            return ApiError::TooLong(BODY_BYTES_MAX).into_response();
        }
        Ok(Err(_)) => {
            let problem = "the body could not be read to its end".to_owned();
            return ApiError::BadRequest(problem).into_response();
        }
        Err(_) => return ApiError::TooSlow(BODY_TIMEOUT).into_response(),
    };
    let answer = next.run(Request::from_parts(head, Body::from(body)));
    match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let seconds = ANSWER_TIMEOUT.as_secs();
            ApiError::Unavailable(format!(
                "not done within {seconds} s, and it may yet be; look at the status first"
            ))
            .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::Router;
    use axum::body::Bytes;
    use axum::http::StatusCode;
    use axum::middleware;
    use axum::routing::post;
    use http_body::Frame;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::runtime::clock;

    /// A body that never comes.
    struct Stalled;

    impl http_body::Body for Stalled {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    async fn status(path: &str, body: Body) -> (StatusCode, Duration) {
        let router = Router::new()
            .route(
                "/",
                post(|body: Bytes| async move { body.len().to_string() }),
            )
            .route("/stuck", post(|| async { pending::<()>().await }))
            .layer(middleware::from_fn(limited));
        let request = Request::post(path).body(body).unwrap();
        let begun = clock::monotonic();
        let answer = TowerToHyperService::new(router).call(request).await;
        (answer.unwrap().status(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_limits_for_a_body_or_an_answer() {
        let (answered, took) = status("/", Body::new(Stalled)).await;
        assert_eq!(answered, StatusCode::REQUEST_TIMEOUT);
        assert!(took >= BODY_TIMEOUT && took < BODY_TIMEOUT * 2, "{took:?}");
        let (answered, took) = status("/stuck", Body::empty()).await;
        assert_eq!(answered, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            took >= ANSWER_TIMEOUT && took < ANSWER_TIMEOUT * 2,
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
        let body = |bytes| Body::from(vec![b' '; bytes]);
        assert_eq!(status("/", body(BODY_BYTES_MAX)).await.0, StatusCode::OK);
        let (answered, _) = status("/", body(BODY_BYTES_MAX + 1)).await;
        assert_eq!(answered, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
