//! Asks webhooks whether a rollout may go on.
//!
//! One exchange, bounded in time and size, by [`http_client`](crate::adapters::http_client). What is said of
//! it ends up in the status, the journal and the log: the host and no more of the URL, and a few words of
//! the answer.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use tokio::task::spawn_blocking;

use crate::adapters::http_client::{HttpClient, HttpClients, Limits};
use crate::adapters::quoted::quoted;
use crate::control::ports::{Calling, HookCall, HookCaller};
use crate::domain::gate::HookAnswer;

/// The most of an answer that is read, in bytes: a few words of it are shown.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// Asks over HTTP.
#[derive(Clone, Debug, Default)]
pub struct HttpHooks {
    clients: Arc<Clients>,
}

#[derive(Debug)]
struct Clients {
    all: HttpClients,
    plain: HttpClient,
    /// One that trusts the system's authorities, once it is needed: reading them takes a while.
    trusting: OnceLock<HttpClient>,
}

impl Default for Clients {
    fn default() -> Self {
        let all = HttpClients::new();
        Self {
            plain: all.plain(),
            all,
            trusting: OnceLock::new(),
        }
    }
}

impl HttpHooks {
    /// The client for a URL.
    async fn client(&self, is_https: bool) -> Result<HttpClient, String> {
        if !is_https {
            return Ok(self.clients.plain.clone());
        }
        let clients = Arc::clone(&self.clients);
        let made = spawn_blocking(move || {
            if let Some(made) = clients.trusting.get() {
                return Ok(made.clone());
            }
            let made = clients.all.client(&[]).map_err(|error| error.to_string())?;
            Ok(clients.trusting.get_or_init(|| made).clone())
        });
        made.await.map_err(|error| error.to_string())?
    }
}

impl HookCaller for HttpHooks {
    fn call(&self, call: HookCall) -> Calling {
        let this = self.clone();
        Box::pin(async move {
            let hook = &call.hook;
            let client = match this.client(hook.url.is_https()).await {
                Ok(client) => client,
                Err(error) => return HookAnswer::Silent(error),
            };
            let limits = Limits {
                timeout: hook.timeout,
                body_bytes_max: ANSWER_BYTES_MAX,
            };
            match client.send(request(&call), limits).await {
                Ok(answer) => HookAnswer::Answered {
                    status: answer.status.as_u16(),
                    text: quoted(&hook.without_secrets(&String::from_utf8_lossy(&answer.body))),
                },
                Err(error) => HookAnswer::Silent(error.to_string()),
            }
        })
    }
}

fn request(call: &HookCall) -> Request<Bytes> {
    // Texts and numbers can be written as JSON.
    let body = serde_json::to_vec(&call.said).unwrap_or_default();
    let mut request = Request::new(body.into());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = call.hook.url.secret().clone();
    let headers = request.headers_mut();
    headers.clone_from(&call.hook.headers);
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    request
}
