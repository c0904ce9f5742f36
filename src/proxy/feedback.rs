//! The one path that listeners answer themselves, where they may: callers rate what they were shown.
//!
//! Who rates is found out as for any other request, and never read from the body. Browsers may only from pages of
//! the same origin: JSON is asked for, which a form cannot send and which another origin's script may not send
//! without a permission that is not given here, and what browsers say of the origin is looked at besides.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::domain::feedback::{Counted, Handed, WrittenRating, read};
use crate::domain::identity::IdentitySource;
use crate::domain::routing::RoutingSnapshot;
use crate::proxy::admission::Presented;
use crate::proxy::client::Client;
use crate::proxy::download::ResponseBody;
use crate::proxy::identity::{Cookies, Peer, client_ip, identify};
use crate::proxy::resolve::{self, Surroundings};
use crate::proxy::view::View;
use crate::proxy::worker::Worker;
use crate::proxy::{forwarded, respond};
use crate::runtime::clock;
use crate::runtime::feedback::{Receipt, Refusal, Said};

/// Where callers rate.
const PATH: &str = "/.serin/feedback";

/// The largest body: a list of ratings with comments of usual length.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// How long a body may take that is so short.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The most ratings of one request: a caller rates a few flags at a time.
const RATINGS_MAX: usize = 20;

/// What a browser says of where a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request is for this path, where it is answered.
pub(super) fn is_meant<B>(client: &Client, request: &Request<B>) -> bool {
    client.may_rate && request.uri().path() == PATH && client.refusal.get().is_none()
}

/// Why a rating is not taken.
struct Problem {
    status: StatusCode,
    detail: String,
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after: None,
        }
    }

    fn too_often(wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "that was too often; wait as long as `Retry-After` says",
            )
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // One answer for both, so that nobody learns which flags there are.
            Refusal::NotTaken | Refusal::NotExposed => Self::new(
                StatusCode::CONFLICT,
                "it is not known that you were shown a variant of this flag under the release that is rated",
            ),
            Refusal::TooOften(wait) => Self::too_often(wait),
            Refusal::Source => Self::new(
                StatusCode::FORBIDDEN,
                "as many callers from your address have rated this release as count for now",
            ),
            Refusal::Full => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "there are as many ratings as there may be",
            ),
        }
    }
}

/// A caller, and where it can be made up.
struct Rater {
    key: String,
    /// What the variant went by, where that is another key.
    bucketed_by: Option<String>,
    made_up_at: Option<String>,
}

/// Answers a request for this path.
pub(super) async fn answer(
    (worker, view): (&Rc<Worker>, &View),
    client: &Client,
    presented: &Presented,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let rater = match meet((worker, view), client, presented, &mut request) {
        Ok(rater) => rater,
        Err(problem) => {
            let mut answer = refused(&problem);
            respond::discard_or_close(&mut request, &mut answer).await;
            return answer;
        }
    };
    let mut answer = match take((worker, view), &rater, request).await {
        Ok(said) => json_answer(StatusCode::OK, "application/json", &said),
        Err(problem) => refused(&problem),
    };
    if worker.is_stopping() {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}

/// Who rates, by the head of a request that may hand something in.
fn meet(
    (worker, view): (&Rc<Worker>, &View),
    client: &Client,
    presented: &Presented,
    request: &mut Request<Incoming>,
) -> Result<Rater, Problem> {
    let routing = view.routing();
    if request.method() != Method::POST {
        let detail = format!("{PATH} is there to `POST` ratings");
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail));
    }
    let cleaned = resolve::clean(routing, client.ip(), request);
    cleaned.map_err(|error| Problem::new(error.status(), error.to_string()))?;
    check_type(request.headers())?;
    check_origin(request)?;
    let ip = forwarded::client_ip(request.headers(), client.ip(), &routing.trusted);
    let (address, now) = (client_ip::site(ip), worker.clock.now());
    let admitted = worker.feedback.admit_address(&address, now);
    admitted.map_err(Problem::too_often)?;
    let peer = presented.peer(client.peer());
    rater(routing, (peer, ip), request.headers(), &**worker)
        .ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, "it is not known who you are"))
}

/// Takes what a body says.
async fn take(
    (worker, view): (&Rc<Worker>, &View),
    rater: &Rater,
    request: Request<Incoming>,
) -> Result<Value, Problem> {
    let routing = view.routing();
    let body = body(request.into_body()).await?;
    let handed = read(&body, RATINGS_MAX);
    let handed = handed.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error))?;
    match handed {
        Handed::One(written) => {
            let flag = written.flag.to_string();
            let counted = rate(worker, routing, rater, *written)?.counted;
            Ok(json!({ "flag": flag, "result": word(counted) }))
        }
        Handed::Many(list) => {
            let results = list.into_iter().map(|written| {
                let flag = written.flag.to_string();
                match rate(worker, routing, rater, written) {
                    Ok(receipt) => {
                        json!({ "flag": flag, "status": 200, "result": word(receipt.counted) })
                    }
                    Err(problem) => json!({
                        "flag": flag,
                        "status": problem.status.as_u16(),
                        "detail": problem.detail,
                    }),
                }
            });
            Ok(json!({ "results": results.collect::<Vec<_>>() }))
        }
    }
}

/// What became of a rating, as a word.
const fn word(counted: Counted) -> &'static str {
    match counted {
        Counted::Recorded => "recorded",
        Counted::Changed => "changed",
        Counted::Unchanged => "unchanged",
    }
}

fn rate(
    worker: &Worker,
    routing: &RoutingSnapshot,
    rater: &Rater,
    written: WrittenRating,
) -> Result<Receipt, Problem> {
    if written.caller.is_some() {
        let detail = "`caller` is not taken from callers: who you are is known by your request";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let mut flags = routing.flags.iter();
    let flag = flags.find(|flag| flag.name == written.flag);
    let bucketed_by = rater.bucketed_by.as_ref().unwrap_or(&rater.key);
    let hash = flag.and_then(|flag| flag.hash_of(bucketed_by));
    let hash = hash.ok_or_else(|| worker.feedback.refuse(Refusal::NotTaken))?;
    let said = Said {
        rating: written.rating,
        comment: written.comment,
        by: None,
        made_up_at: rater.made_up_at.clone(),
        at_unix_ms: u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX),
    };
    let now = worker.clock.now();
    let taken = worker
        .feedback
        .rate(&written.flag, (hash, &rater.key), said, now);
    Ok(taken?)
}

/// Who sent a request, by the sources that every request is asked for. One that has just been given a cookie
/// was shown nothing yet.
fn rater(
    routing: &RoutingSnapshot,
    (peer, ip): (Peer<'_>, IpAddr),
    headers: &HeaderMap,
    surroundings: &impl Surroundings,
) -> Option<Rater> {
    let client = Peer { ip, ..peer };
    let cookies = Cookies {
        key: surroundings.cookie_key(),
        draw: || surroundings.new_caller(),
    };
    let identity = identify(&routing.identity, headers, client, cookies);
    let source = &routing.identity[identity.source?];
    let can_be_made_up = matches!(
        source,
        IdentitySource::Cookie(_) | IdentitySource::AssignedCookie(_) | IdentitySource::ClientIp
    );
    let rater = Rater {
        key: identity.caller().key()?.to_owned(),
        bucketed_by: identity.bucketed_by.map(str::to_owned),
        made_up_at: can_be_made_up.then(|| client_ip::site(ip)),
    };
    identity.set_cookie.is_none().then_some(rater)
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let written = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let media_type = written.and_then(|text| text.split(|byte| *byte == b';').next());
    let is_json =
        media_type.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"));
    is_json.then_some(()).ok_or_else(|| {
        let detail = "ratings are JSON: say `Content-Type: application/json`";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    })
}

/// Refuses what a browser sends for a page of another origin.
fn check_origin<B>(request: &Request<B>) -> Result<(), Problem> {
    let headers = request.headers();
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let is_own = match site {
        Some(site) => matches!(site, b"same-origin" | b"none"),
        None => headers.get(header::ORIGIN).is_none_or(|origin| {
            let host = headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok());
            let host = host.or_else(|| request.uri().authority().map(|it| it.as_str()));
            let origin = origin.to_str().unwrap_or_default();
            let named = origin.split_once("://").map(|(_, named)| named);
            named.is_some() && named == host
        }),
    };
    is_own.then_some(()).ok_or_else(|| {
        let detail = "pages of another origin may not rate here";
        Problem::new(StatusCode::FORBIDDEN, detail)
    })
}

async fn body(body: Incoming) -> Result<Bytes, Problem> {
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    match timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than {BODY_BYTES_MAX} bytes"),
        )),
        Ok(Err(_)) => {
            let detail = "the body could not be read to its end";
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
        Err(_) => {
            let detail = "the body did not arrive in time";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

fn refused(problem: &Problem) -> Response<ResponseBody> {
    let status = problem.status;
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": problem.detail,
    });
    let mut answer = json_answer(status, "application/problem+json", &body);
    if let Some(wait) = problem.retry_after {
        let seconds = wait.as_millis().div_ceil(1_000).max(1);
        let seconds = HeaderValue::from_str(&seconds.to_string());
        let seconds = seconds.unwrap_or_else(|_| HeaderValue::from_static("60"));
        answer.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static("POST");
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}

fn json_answer(status: StatusCode, kind: &'static str, body: &Value) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::full(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
