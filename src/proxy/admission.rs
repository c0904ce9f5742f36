//! Who is let in, before anything is decided: apps by their status, and as often as they may ask; and whoever
//! brings a token that is asked for.

use std::sync::Arc;

use http::{HeaderValue, Request};

use crate::domain::app::{App, AppStatus};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::timestamp::Timestamp;
use crate::proxy::error::ProxyError;
use crate::proxy::identity::jwt::PresentedToken;
use crate::proxy::identity::{Peer, api_key};
use crate::runtime::apps::{AppRegistry, Denial, Holder, KnownApp};

/// What the keys and tokens in a request say of who sends it.
#[derive(Debug, Default)]
pub(crate) struct Presented {
    holder: Option<Holder>,
    /// The app as it stands for this request, from its first byte to its last.
    app: Option<Arc<App>>,
    token: PresentedToken,
}

/// Reads the keys that a request brings and takes them out of it.
pub(crate) fn present<B>(
    routing: &RoutingSnapshot,
    registry: &AppRegistry,
    request: &mut Request<B>,
    now: impl FnOnce() -> Timestamp,
) -> Presented {
    if !routing.admission.reads_keys {
        return Presented::default();
    }
    let holder = api_key::take(&routing.identity, registry, request, now());
    let app = match &holder {
        Some(Holder::App(known)) => Some(known.now()),
        _ => None,
    };
    Presented {
        holder,
        app,
        token: PresentedToken::default(),
    }
}

impl Presented {
    /// The same, with what a token says.
    pub(crate) fn with(self, token: PresentedToken) -> Self {
        Self { token, ..self }
    }

    /// A peer, with the app whose key its request brings, and with what its token says.
    pub(crate) fn peer<'a>(&'a self, peer: Peer<'a>) -> Peer<'a> {
        Peer {
            app: self.app.as_deref(),
            token: Some(&self.token),
            ..peer
        }
    }

    /// The app, if the request brings a key of one.
    pub(crate) fn shared(&self) -> Option<Arc<App>> {
        self.app.clone()
    }

    /// What a backend is told of the app: its id, if it would be let in where something is asked of it. One that
    /// would not is nobody where everybody passes, as whoever has no key at all.
    pub(crate) fn named(&self, routing: &RoutingSnapshot) -> Option<&HeaderValue> {
        let (known, app) = (self.known()?, self.app.as_ref()?);
        let is_let_in = routing.admission.lets_in(app.status);
        is_let_in.then(|| known.header())
    }

    /// What else is known of it.
    pub(crate) const fn known(&self) -> Option<&Arc<KnownApp>> {
        match &self.holder {
            Some(Holder::App(known)) => Some(known),
            _ => None,
        }
    }

    /// What the token says, if the request brings one.
    pub(crate) const fn token(&self) -> &PresentedToken {
        &self.token
    }

    /// Whether the request may go on, its app's limit apart; everybody may where it is `public`.
    pub(crate) fn check(
        &self,
        routing: &RoutingSnapshot,
        is_public: bool,
    ) -> Result<(), ProxyError> {
        let checked = self.check_app(routing, is_public);
        checked.map_err(ProxyError::Denied)?;
        self.check_token(is_public)
    }

    fn check_token(&self, is_public: bool) -> Result<(), ProxyError> {
        if is_public {
            return Ok(());
        }
        self.token.check().map_err(ProxyError::Token)
    }

    fn check_app(&self, routing: &RoutingSnapshot, is_public: bool) -> Result<(), Denial> {
        if is_public || !routing.admission.reads_keys {
            return Ok(());
        }
        if let Some(app) = &self.app {
            if routing.admission.lets_in(app.status) {
                return Ok(());
            }
            return match app.status {
                AppStatus::Pending => Err(Denial::Pending),
                AppStatus::Suspended => Err(Denial::Suspended),
                AppStatus::Revoked => Err(Denial::Revoked),
                AppStatus::Approved => Ok(()),
            };
        }
        if !routing.admission.require_approved {
            return Ok(());
        }
        Err(match self.holder {
            None => Denial::NoKey,
            Some(Holder::Ended) => Denial::ExpiredKey,
            Some(Holder::Nobody | Holder::App(_)) => Denial::UnknownKey,
        })
    }

    /// Whether the request may go on; counts it towards its app's limit, or among those that are not let in.
    pub(crate) fn admit(
        &self,
        routing: &RoutingSnapshot,
        is_public: bool,
        registry: &AppRegistry,
        now: impl FnOnce() -> Timestamp,
    ) -> Result<(), ProxyError> {
        let denied = |denial| {
            registry.count(denial);
            ProxyError::Denied(denial)
        };
        self.check_app(routing, is_public).map_err(denied)?;
        self.check_token(is_public)?;
        match (self.known(), &self.app) {
            (Some(known), Some(app)) if !is_public => {
                let limit = app.profile.rate_limit;
                let taken = limit.map_or(Ok(()), |limit| known.rate.take(limit, now()));
                taken.map_err(|wait| denied(Denial::too_many(wait)))
            }
            _ => Ok(()),
        }
    }
}
