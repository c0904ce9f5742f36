//! Who asks for a flag over OFREP: what its context says, and what is known of the caller besides.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use rand::RngExt;
use serde_json::{Map, Value};

use crate::admin::AdminState;
use crate::admin::ofrep::{ErrorCode, Failure};
use crate::domain::app::App;
use crate::domain::caller::{CALLER_KEY_BYTES_MAX, RequestFacts};
use crate::domain::described::DescribedRequest;
use crate::domain::identity::IdentitySource;
use crate::domain::ids::GroupIndex;
use crate::domain::routing::RoutingSnapshot;
use crate::proxy::{PresentedToken, present_once};
use crate::runtime::clock;
use crate::runtime::pseudonyms::Pseudonym;

/// The attribute that says who the caller is.
pub(super) const TARGETING_KEY: &str = "targetingKey";

/// The attribute that says which app asks: the header by which backends are told.
const NAMED_APP: &str = "serin-app";

/// Who is to get a flag, and what is known of it.
pub(super) struct Asker {
    request: DescribedRequest,
    app: Option<Arc<App>>,
    token: PresentedToken,
    /// Whether that app may not pass where something is asked of it.
    is_barred: bool,
    assigned: Vec<GroupIndex>,
    pseudonym: Option<Pseudonym>,
}

impl Asker {
    /// Reads a context.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn of(
        state: &AdminState,
        routing: &RoutingSnapshot,
        body: &[u8],
    ) -> Result<Self, Failure> {
        let mut request = described(body)?;
        let app = app(state, routing, &mut request);
        let token = token(state, routing, &mut request);
        let mut app_status = app.iter().map(|app| app.status);
        Ok(Self {
            assigned: assigned(state, routing, &request),
            pseudonym: pseudonym(state, routing, &request),
            is_barred: app_status.any(|status| !routing.admission.lets_in(status)),
            app,
            token,
            request,
        })
    }

    /// What decisions look at.
    pub(super) fn facts(&self) -> RequestFacts<'_> {
        let app = self.app.as_deref();
        let draw = rand::rng().random();
        RequestFacts {
            pseudonym: self.pseudonym.as_deref(),
            is_barred: self.is_barred,
            claims: self.token.claims(),
            ..self.request.facts(app, &self.assigned, draw)
        }
    }
}

/// The groups that an operator has put the caller into.
fn assigned(
    state: &AdminState,
    routing: &RoutingSnapshot,
    request: &DescribedRequest,
) -> Vec<GroupIndex> {
    let mut groups = Vec::new();
    if let Some(key) = request.caller().key()
        && !state.assignments.is_empty()
    {
        let now = state.clock.now();
        state.assignments.groups_of(key, now, |group| {
            groups.extend(routing.groups.index_of(group.as_str()));
        });
    }
    groups
}

/// What the caller is called, where a group looks callers up by that.
fn pseudonym(
    state: &AdminState,
    routing: &RoutingSnapshot,
    request: &DescribedRequest,
) -> Option<Pseudonym> {
    let pseudonyms = &state.pseudonyms;
    pseudonyms.for_groups(&routing.groups, request.caller())
}

/// The app that asks, where requests bring keys of apps: the one that the context names, as the proxy would to a
/// backend, and which is the caller if no other is said to be; or the one whose id is `targetingKey`, if apps are
/// the only callers. Among others it might be somebody's key, who is not to be taken for the app.
fn app(
    state: &AdminState,
    routing: &RoutingSnapshot,
    request: &mut DescribedRequest,
) -> Option<Arc<App>> {
    let named = request.headers.remove(NAMED_APP);
    if !routing.admission.reads_keys {
        return None;
    }
    if let Some(id) = named {
        let app = state.apps.find(id.to_str().ok()?)?;
        request.key.get_or_insert_with(|| app.id.to_string());
        return Some(app);
    }
    let mut sources = routing.identity.iter();
    let only_apps = sources.all(|source| matches!(source, IdentitySource::ApiKey(_)));
    state
        .apps
        .find(request.key.as_deref().filter(|_| only_apps)?)
}

/// What a token says that the context has in the place where requests have theirs; it is verified as theirs are. It
/// names the caller where `targetingKey` does not.
fn token(
    state: &AdminState,
    routing: &RoutingSnapshot,
    request: &mut DescribedRequest,
) -> PresentedToken {
    let keys = state.keys.ring.load();
    let now = clock::wall().as_secs();
    let token = present_once(&routing.identity, &request.headers, &keys, now);
    if request.key.is_none() {
        request.key = token.caller().map(str::to_owned);
    }
    token
}

/// The request that a context describes: `targetingKey` is the caller; `ip`, `method`, `host` and `path` say
/// what they say; every other text, number or switch is the header of its name.
fn described(body: &[u8]) -> Result<DescribedRequest, Failure> {
    let unread = |problem: String| Failure::of_request(ErrorCode::ParseError, problem);
    let invalid = |problem: String| Failure::of_request(ErrorCode::InvalidContext, problem);
    let said: Map<String, Value> = if body.trim_ascii().is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(body).map_err(|error| unread(error.to_string()))?
    };
    let context = match said.get("context") {
        None | Some(Value::Null) => return Ok(DescribedRequest::default()),
        Some(Value::Object(context)) => context,
        Some(_) => return Err(invalid("`context` must be an object".to_owned())),
    };
    let mut request = DescribedRequest::default();
    for (name, value) in context {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if name != TARGETING_KEY => number.to_string(),
            Value::Bool(switch) if name != TARGETING_KEY => switch.to_string(),
            Value::Null => continue,
            _ if name == TARGETING_KEY => {
                return Err(invalid(format!("`{TARGETING_KEY}` must be a text")));
            }
            // Nothing that a request could say.
            _ => continue,
        };
        let unfit = |what| invalid(format!("`{name}`: `{text}` is not {what}"));
        match name.as_str() {
            // A longer one is as good as none, as in the proxy.
            TARGETING_KEY if text.is_empty() || text.len() > CALLER_KEY_BYTES_MAX => {}
            TARGETING_KEY => request.key = Some(text),
            "ip" => request.client_ip = text.parse().map_err(|_| unfit("an address"))?,
            "method" => request.method = text.parse().map_err(|_| unfit("a method"))?,
            "path" if !text.starts_with('/') => return Err(unfit("a path, which begins with `/`")),
            "path" => request.path = text,
            "host" => request.host = text,
            _ => {
                let field = name.parse::<HeaderName>().ok();
                if let Some((name, value)) = field.zip(HeaderValue::from_str(&text).ok()) {
                    request.headers.insert(name, value);
                }
            }
        }
    }
    Ok(request)
}
