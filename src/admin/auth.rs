//! Who is let in, and what they may do.
//!
//! With tokens, whoever asks for anything but the process's health has to bring one, and is called
//! by its name in the journal. Without tokens there is a loopback address only, and everyone who
//! reaches it is an operator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::admin::AdminState;
use crate::admin::error::ApiError;
use crate::admin::server::Peer;
use crate::config::{Role, Token};
use crate::domain::ids::TokenName;
use crate::domain::rollout::Author;
use crate::domain::timestamp::Timestamp;
use crate::runtime::key_hash::KeyHash;
use crate::runtime::snapshot::SnapshotReader;

/// Below this nothing is changed, whatever the method.
const EVALUATION: &str = "/ofrep/";

/// Here neither.
const EXPLANATION: &str = "/api/v1/explain";

/// By which applications may bring their token when they evaluate flags (OFREP, `ApiKeyAuth`), and nobody else.
const API_KEY_HEADER: &str = "x-api-key";

/// Where servers pass on what callers say, which has a role of its own.
pub(super) const FEEDBACK: &str = "/api/v1/feedback";

/// Where anybody may look: load balancers have no tokens.
pub(super) const OPEN_PATHS: [&str; 2] = ["/livez", "/readyz"];

/// By which the command line says whose it is where there are no tokens.
pub(crate) const USER_HEADER: &str = "x-serin-user";

/// Who it was, where nobody says.
const SOMEBODY: &str = "operator";

/// The longest reason, in characters: a sentence or two with a link.
const REASON_CHARS_MAX: usize = 500;

/// How often refusals are logged at the most; the rest is counted.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The tokens that are known, as hashes.
#[derive(Debug, Default)]
pub struct Tokens(Vec<KnownToken>);

#[derive(Debug)]
struct KnownToken {
    name: TokenName,
    role: Role,
    hash: KeyHash,
}

impl Tokens {
    /// Hashes the tokens of a configuration.
    pub fn new(tokens: &[Token]) -> Self {
        let known = |token: &Token| KnownToken {
            name: token.name.clone(),
            role: token.role,
            hash: KeyHash::of(token.secret.reveal()),
        };
        Self(tokens.iter().map(known).collect())
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The token that was presented. All are compared, whichever it is.
    fn find(&self, presented: &str) -> Option<&KnownToken> {
        let presented = KeyHash::of(presented);
        let mut found = None;
        for token in &self.0 {
            if token.hash.matches(&presented) {
                found = Some(token);
            }
        }
        found
    }
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    who: String,
    role: Role,
}

impl Visitor {
    fn unverified(user: Option<TokenName>) -> Self {
        Self {
            who: user.map_or_else(
                || SOMEBODY.to_owned(),
                |name| format!("{name} (unverified)"),
            ),
            role: Role::Operator,
        }
    }

    /// Who it is, for the journal.
    pub(crate) fn name(&self) -> &str {
        &self.who
    }

    /// Whether they may do what is asked of them: to pass on feedback, or something else.
    fn check(&self, is_feedback: bool) -> Result<(), Refused> {
        let needed = match (self.role, is_feedback) {
            (Role::Feedback, false) => "viewer",
            (Role::Viewer, true) => "feedback",
            _ => return Ok(()),
        };
        let (who, role) = (&self.who, self.role.as_str());
        let detail = format!("token `{who}` has role `{role}`, and this needs `{needed}`");
        Err(Refused::by(Denial::Role, ApiError::Forbidden(detail)))
    }

    /// The author of what they ask for, or what is wrong with the reason: it is shown in logs,
    /// terminals and messages, so it is one short line.
    pub(crate) fn because(self, why: String) -> Result<Author, ApiError> {
        if why.chars().count() > REASON_CHARS_MAX || why.chars().any(char::is_control) {
            return Err(ApiError::BadRequest(format!(
                "a reason is one line of at most {REASON_CHARS_MAX} characters"
            )));
        }
        Ok(Author { who: self.who, why })
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    NoToken,
    WrongToken,
    Role,
}

impl Denial {
    const ALL: [Self; 3] = [Self::NoToken, Self::WrongToken, Self::Role];

    /// The word in metrics and the log.
    const fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::Role => "role",
        }
    }
}

/// Lets people in, and counts whom it does not.
#[derive(Debug)]
pub struct Gate {
    tokens: SnapshotReader<Tokens>,
    /// Whether the address is a loopback one, where no token is needed unless there are some.
    is_loopback: bool,
    denied: [AtomicU64; Denial::ALL.len()],
    log: Mutex<LogState>,
}

/// What was logged of refusals.
#[derive(Debug, Default)]
struct LogState {
    last: Option<Timestamp>,
    unlogged: u64,
}

impl Gate {
    /// A gate before an address.
    pub fn new(tokens: SnapshotReader<Tokens>, is_loopback: bool) -> Self {
        Self {
            tokens,
            is_loopback,
            denied: Default::default(),
            log: Mutex::default(),
        }
    }

    /// Whether a token is needed here.
    pub(crate) fn needs_token(&self) -> bool {
        // Tokens can be taken out of a configuration while the address, which cannot be changed
        // without a restart, is still open to others.
        !self.is_loopback || !self.tokens.load().is_empty()
    }

    /// How many requests were refused since the start, by reason.
    pub fn denied(&self) -> Vec<(&'static str, u64)> {
        let counts = Denial::ALL.into_iter().zip(&self.denied);
        let read = |(denial, count): (Denial, &AtomicU64)| {
            (denial.as_str(), count.load(Ordering::Relaxed))
        };
        counts.map(read).collect()
    }

    fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Visitor, Refused> {
        if !self.needs_token() {
            return Ok(Visitor::unverified(user(headers)?));
        }
        let presented = bearer(headers)?;
        let tokens = self.tokens.load();
        let token = tokens.find(presented).ok_or_else(|| {
            let detail = "this token is none of those in the configuration".to_owned();
            Refused::by(Denial::WrongToken, ApiError::Unauthorized(detail))
        })?;
        let is_looking = matches!(*method, Method::GET | Method::HEAD);
        if token.role < Role::Operator && !is_looking {
            let error = needs_operator(token.name.as_str(), token.role);
            return Err(Refused::by(Denial::Role, error));
        }
        Ok(Visitor {
            who: token.name.to_string(),
            role: token.role,
        })
    }

    /// Keeps those who may only look from what is for operators to look at.
    pub(crate) fn demand_operator(
        &self,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        if visitor.role == Role::Operator {
            return Ok(());
        }
        self.note(Denial::Role, None, now);
        Err(needs_operator(&visitor.who, visitor.role))
    }

    /// Counts a refusal, and logs it unless one has just been logged.
    fn note(&self, denial: Denial, peer: Option<Peer>, now: Timestamp) {
        self.denied[denial as usize].fetch_add(1, Ordering::Relaxed);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.last.is_some_and(|last| now - last < LOG_INTERVAL) {
            log.unlogged += 1;
            return;
        }
        let unlogged = std::mem::take(&mut log.unlogged);
        log.last = Some(now);
        let peer = peer.map_or_else(String::new, |Peer(address)| address.to_string());
        let reason = denial.as_str();
        tracing::warn!(reason, peer, unlogged, "admin request refused");
    }
}

/// Why a request is refused, and what it counts as.
struct Refused {
    denial: Option<Denial>,
    error: ApiError,
}

impl Refused {
    const fn by(denial: Denial, error: ApiError) -> Self {
        Self {
            denial: Some(denial),
            error,
        }
    }
}

fn needs_operator(who: &str, role: Role) -> ApiError {
    let role = role.as_str();
    ApiError::Forbidden(format!(
        "token `{who}` has role `{role}`, and this needs `operator`"
    ))
}

/// The token that a request brings (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let refuse = |denial, detail: &str| {
        Err(Refused::by(
            denial,
            ApiError::Unauthorized(detail.to_owned()),
        ))
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => {
            return refuse(
                Denial::NoToken,
                "a token is needed: `Authorization: Bearer …`",
            );
        }
        (Some(value), None) => value.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => {
            return refuse(
                Denial::WrongToken,
                "there are several `Authorization` fields",
            );
        }
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => refuse(
            Denial::WrongToken,
            "`Authorization` is not of the form `Bearer …`",
        ),
    }
}

/// Has a token count that comes as OFREP's API key, where none comes otherwise.
fn take_api_key(headers: &mut HeaderMap) {
    let mut keys = headers.get_all(API_KEY_HEADER).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return;
    };
    if headers.contains_key(header::AUTHORIZATION) {
        return;
    }
    let bearer = [b"Bearer ", key.as_bytes()].concat();
    if let Ok(mut bearer) = HeaderValue::try_from(bearer) {
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
}

/// Who somebody says to be.
fn user(headers: &HeaderMap) -> Result<Option<TokenName>, Refused> {
    let Some(value) = headers.get(USER_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    text.parse().map(Some).map_err(|error| Refused {
        denial: None,
        error: ApiError::BadRequest(format!("{USER_HEADER}: {error}")),
    })
}

/// Lets a request through with the [`Visitor`] who sent it, or answers it.
pub(crate) async fn admit(
    State(state): State<AdminState>,
    mut request: Request,
    next: Next,
) -> Response {
    if OPEN_PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    // To evaluate a flag is to look, though it is asked for by POST.
    let path = request.uri().path();
    let looks = path.starts_with(EVALUATION) || path == EXPLANATION;
    let is_feedback = path == FEEDBACK && request.method() == Method::POST;
    let method = if looks || is_feedback {
        &Method::GET
    } else {
        request.method()
    };
    let method = method.clone();
    if path.starts_with(EVALUATION) {
        take_api_key(request.headers_mut());
    }
    let admitted = state.gate.admit(&method, request.headers());
    let admitted = admitted.and_then(|visitor| visitor.check(is_feedback).map(|()| visitor));
    match admitted {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(Refused { denial, error }) => {
            if let Some(denial) = denial {
                let peer = request.extensions().get::<Peer>().copied();
                state.gate.note(denial, peer, state.clock.now());
            }
            error.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, StatusCode};

    use super::*;
    use crate::domain::secret::Secret;
    use crate::runtime::snapshot::SnapshotWriter;

    const CI: &str = "a-secret-of-24-bytes-abc";
    const WALL: &str = "another-secret-of-28-bytes-z";

    fn tokens() -> Tokens {
        let token = |name: &str, role, secret: &str| Token {
            name: name.parse().unwrap(),
            role,
            secret: Secret::new(secret),
        };
        Tokens::new(&[
            token("ci", Role::Operator, CI),
            token("wall", Role::Viewer, WALL),
        ])
    }

    fn gate(tokens: Tokens, is_loopback: bool) -> Gate {
        Gate::new(SnapshotWriter::new(tokens).reader(), is_loopback)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        };
        fields.iter().map(field).collect()
    }

    fn admit(gate: &Gate, method: &Method, fields: &[(&'static str, &str)]) -> Result<String, u16> {
        let admitted = gate.admit(method, &headers(fields));
        admitted
            .map(|visitor| visitor.because(String::new()).unwrap().who)
            .map_err(|refused| refused.error.into_response().status().as_u16())
    }

    #[test]
    fn the_right_token_says_who_it_is_and_what_they_may_do() {
        let gate = gate(tokens(), true);
        let by = |method: &Method, value: &str| admit(&gate, method, &[("authorization", value)]);
        assert_eq!(by(&Method::POST, &format!("Bearer {CI}")), Ok("ci".into()));
        assert_eq!(by(&Method::POST, &format!("bearer  {CI}")), Ok("ci".into()));
        let wall = format!("Bearer {WALL}");
        assert_eq!(by(&Method::GET, &wall), Ok("wall".into()));
        assert_eq!(by(&Method::HEAD, &wall), Ok("wall".into()));
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert_eq!(by(&method, &wall), Err(403), "{method}");
        }
        let half = &CI[..CI.len() - 1];
        for wrong in [
            "Bearer",
            "Bearer ",
            CI,
            &format!("Basic {CI}"),
            &format!("Bearer {half}"),
            &format!("Bearer {CI}x"),
            &format!("Bearer {CI}, Bearer {WALL}"),
        ] {
            assert_eq!(by(&Method::GET, wrong), Err(401), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_asked_for_as_the_standard_says() {
        let gate = gate(tokens(), true);
        let refused = gate.admit(&Method::GET, &HeaderMap::new()).err().unwrap();
        assert_eq!(refused.denial, Some(Denial::NoToken));
        let response = refused.error.into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(
            response.headers()["www-authenticate"],
            "Bearer realm=\"serin\""
        );
        let (ci, wall) = (format!("Bearer {CI}"), format!("Bearer {WALL}"));
        let both = [("authorization", &*ci), ("authorization", &*wall)];
        assert_eq!(admit(&gate, &Method::GET, &both), Err(401));
    }

    #[test]
    fn whom_somebody_says_to_be_is_heard_only_where_no_token_is_needed() {
        let open = gate(Tokens::default(), true);
        let ann = [(USER_HEADER, "ann")];
        assert_eq!(admit(&open, &Method::POST, &[]), Ok("operator".into()));
        assert_eq!(
            admit(&open, &Method::POST, &ann),
            Ok("ann (unverified)".into())
        );
        assert_eq!(
            admit(&open, &Method::POST, &[(USER_HEADER, "a b")]),
            Err(400)
        );
        let closed = gate(tokens(), true);
        assert_eq!(admit(&closed, &Method::POST, &ann), Err(401));
        let ci = format!("Bearer {CI}");
        let both = [ann[0], ("authorization", &*ci)];
        assert_eq!(admit(&closed, &Method::POST, &both), Ok("ci".into()));
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let because = |why: &str| Visitor::unverified(None).because(why.to_owned());
        assert!(because("").is_ok());
        assert!(because(&"ü".repeat(REASON_CHARS_MAX)).is_ok());
        for why in [
            "two\nlines",
            "\u{1b}[31mred",
            &"ü".repeat(REASON_CHARS_MAX + 1),
        ] {
            assert!(matches!(because(why), Err(ApiError::BadRequest(_))));
        }
    }

    #[test]
    fn nobody_is_let_in_from_afar_once_the_tokens_are_gone() {
        let gate = gate(Tokens::default(), false);
        assert!(gate.needs_token());
        assert_eq!(admit(&gate, &Method::GET, &[]), Err(401));
        let token = format!("Bearer {CI}");
        let token = [("authorization", &*token)];
        assert_eq!(admit(&gate, &Method::GET, &token), Err(401));
    }

    #[test]
    fn refusals_are_counted_each_and_logged_now_and_then() {
        let gate = gate(tokens(), true);
        let at = |seconds| Timestamp::since_start(Duration::from_secs(seconds));
        for now in [at(1), at(2), at(3)] {
            gate.note(Denial::WrongToken, None, now);
        }
        assert_eq!(gate.log.lock().unwrap().unlogged, 2);
        gate.note(Denial::Role, None, at(12));
        assert_eq!(gate.log.lock().unwrap().unlogged, 0);
        assert_eq!(
            gate.denied(),
            [("no_token", 0), ("wrong_token", 3), ("role", 1)]
        );
    }
}
