//! Fetches one set of keys: one exchange, bounded in time and size.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, StatusCode, header};
use tokio::task::spawn_blocking;

use crate::adapters::http_client::{HttpClients, Limits};
use crate::domain::jwt::{KEY_SET_BYTES_MAX, KeySet, RemoteKeys};

/// A set of keys that was had.
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    /// The hash of what it was read from, by which another one is known.
    pub(super) hash: Box<[u8]>,
}

/// Asks for a set; what is said of a failure names the host, and nothing that came from it.
pub(super) async fn fetch(
    clients: Arc<HttpClients>,
    remote: Arc<RemoteKeys>,
) -> Result<Fetched, String> {
    let limits = Limits {
        timeout: remote.timeout,
        body_bytes_max: KEY_SET_BYTES_MAX,
    };
    let accepted = "application/jwk-set+json, application/json";
    let request = Request::get(&remote.url).header(header::ACCEPT, accepted);
    let request = request
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let source = Arc::clone(&remote);
    // To read what the system trusts takes a while.
    let client = spawn_blocking(move || {
        if source.url.scheme() == Some(&Scheme::HTTP) {
            return Ok(clients.plain());
        }
        clients.client(&source.authorities)
    });
    let client = client.await.map_err(|error| error.to_string())?;
    let client = client.map_err(|error| error.to_string())?;
    let answer = client.send(request, limits).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status != StatusCode::OK {
        return Err(format!("the answer is {}", answer.status.as_u16()));
    }
    let body = answer.whole().map_err(|error| error.to_string())?;
    let keys = KeySet::from_jwks(&body, &remote.algorithms);
    let keys = keys.map_err(|fault| format!("the answer {fault}"))?;
    let hash = digest(&SHA256, &body).as_ref().into();
    Ok(Fetched { keys, hash })
}
