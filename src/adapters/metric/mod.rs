//! Asks other systems for the numbers of custom checks: a file for each kind of them.
//!
//! One exchange, bounded in time and size, by [`http_client`](crate::adapters::http_client). What is
//! said of a failure ends up in findings, the journal and the API, so it names the host and no more
//! of a URL, and quotes no more than a few words of an answer.

mod http_json;
mod promql;

use bytes::Bytes;
use http::{Request, Uri, header};

use crate::adapters::http_client::{Answer, HttpClient, Limits};
use crate::control::ports::{Asking, MetricSource};
use crate::domain::further::{Question, Silence, Subject};
use crate::runtime::clock;

/// The largest answer that is read, in bytes: room for a document of many numbers, and parsed in a
/// millisecond or so.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Asks over HTTP.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    client: HttpClient,
}

impl HttpMetrics {
    /// Asks by means of a client.
    pub const fn new(client: HttpClient) -> Self {
        Self { client }
    }
}

impl MetricSource for HttpMetrics {
    fn ask(&self, question: Question) -> Asking {
        let this = self.clone();
        Box::pin(async move {
            match &question.subject {
                Subject::PromQl { server, query } => {
                    let answer = this.get(&promql::url(server, query)?, &question).await?;
                    promql::read(answer, clock::wall())
                }
                Subject::HttpJson { url, pointer } => {
                    let answer = this.get(url, &question).await?;
                    http_json::read(answer, pointer)
                }
            }
        })
    }
}

impl HttpMetrics {
    async fn get(&self, url: &Uri, question: &Question) -> Result<Answer, Silence> {
        let request = Request::get(url).header(header::ACCEPT, "application/json");
        let request = request.body(Bytes::new());
        let request = request.map_err(|_| Silence("there is no such URL".to_owned()))?;
        let limits = Limits {
            timeout: question.timeout,
            body_bytes_max: BODY_BYTES_MAX,
        };
        let answer = self.client.send(request, limits).await;
        answer.map_err(|error| Silence(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
