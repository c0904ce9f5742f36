//! The webhooks of a configuration, ready to be sent to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};

use crate::adapters::http_client::{HttpClient, HttpClients, InvalidAuthority, Limits};
use crate::adapters::notify::webhook::outcome::Outcome;
use crate::adapters::notify::webhook::shape;
use crate::control::ports::OutboxMessage;
use crate::domain::ids::TargetName;
use crate::domain::notify::NotifyTarget;
use crate::runtime::clock;

/// Tells attempts to deliver the same message from messages that say the same: the number of the
/// message and when it was written, for numbers begin anew with a new state file.
const NOTIFICATION_ID: HeaderName = HeaderName::from_static("x-serin-notification-id");

/// Nobody reads the answer of a webhook; this much lets the connection be used again.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// The webhooks of a configuration; replaced as a whole when it changes.
#[derive(Debug, Default)]
pub struct Webhooks {
    targets: BTreeMap<TargetName, Arc<Webhook>>,
}

/// Why nothing can be sent to a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("target `{target}` of notifications")]
pub struct InvalidTarget {
    /// Its name.
    pub target: TargetName,
    /// What is wrong with its authorities.
    pub source: InvalidAuthority,
}

impl Webhooks {
    /// Prepares the targets of a configuration.
    ///
    /// # Errors
    /// When the certificate of an authority is none.
    pub fn new(targets: &[NotifyTarget], clients: &HttpClients) -> Result<Self, InvalidTarget> {
        let mut webhooks = BTreeMap::new();
        for target in targets {
            let client = clients.client(&target.authorities);
            let client = client.map_err(|source| InvalidTarget {
                target: target.name.clone(),
                source,
            })?;
            let target = target.clone();
            let name = target.name.clone();
            webhooks.insert(name, Arc::new(Webhook { target, client }));
        }
        Ok(Self { targets: webhooks })
    }

    /// The names of all targets.
    pub(super) fn names(&self) -> impl Iterator<Item = &TargetName> {
        self.targets.keys()
    }

    pub(super) fn find(&self, target: &str) -> Option<&Arc<Webhook>> {
        self.targets
            .iter()
            .find(|(name, _)| name.as_str() == target)
            .map(|(_, webhook)| webhook)
    }
}

/// One webhook.
#[derive(Debug)]
pub(super) struct Webhook {
    target: NotifyTarget,
    client: HttpClient,
}

impl Webhook {
    /// Sends a message, once.
    pub(super) async fn post(&self, message: &OutboxMessage) -> Outcome {
        let limits = Limits {
            timeout: self.target.timeout,
            body_bytes_max: ANSWER_BYTES_MAX,
        };
        let exchange = self.client.send(self.request(message), limits).await;
        Outcome::of(exchange, clock::wall())
    }

    fn request(&self, message: &OutboxMessage) -> Request<Bytes> {
        let body = shape::body(&self.target, message);
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.url.secret().clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.target.headers);
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let id = format!("{}-{}", message.id, message.written_unix_ms);
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(NOTIFICATION_ID, id);
        }
        request
    }

    /// Where it is, as far as that may be shown.
    pub(super) fn place(&self) -> String {
        self.target.url.to_string()
    }
}
