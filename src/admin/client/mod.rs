//! Asks the admin API of a running Serin, for the command line.
//!
//! One connection for each request: commands are few, and a kept connection is one more thing that
//! can be stale. HTTP without TLS, as the API is served.

mod download;
mod events;

use std::io;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admin::auth::USER_HEADER;
use crate::domain::ids::TokenName;
use crate::domain::secret::Secret;

pub use events::StreamEvent;

/// The longest answer that is read: a thousand lines of the journal with their findings are a few
/// megabytes.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a connection may take: the API is on this machine or near it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What need not be encoded in a query (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why there is no answer, or none that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address makes no sense.
    #[error("`{url}` is not the address of an admin API: {why}")]
    BadAddress {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody is there.
    #[error("cannot reach the admin API at {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {url} broke")]
    Broken {
        /// The address.
        url: String,
        /// Why.
        source: hyper::Error,
    },
    /// Somebody else is there.
    #[error("what answers at {url} is not Serin's admin API: {why}")]
    NotSerin {
        /// The address.
        url: String,
        /// What is odd.
        why: String,
    },
    /// It takes too long.
    #[error("no answer from {url} within {}", humantime::format_duration(*.limit))]
    TimedOut {
        /// The address.
        url: String,
        /// How long it was waited.
        limit: Duration,
    },
    /// Serin does not do as asked.
    #[error("{problem}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// What it says.
        problem: Problem,
    },
}

/// What Serin says of something that it does not do (RFC 9457).
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    /// Why.
    pub detail: String,
    /// All that is wrong with a configuration, each with file, line and column.
    #[serde(default)]
    pub problems: Vec<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Whoever has this token.
    Token(Secret),
    /// Somebody on this machine, by the name they give themselves.
    User(Option<TokenName>),
}

/// What is said with a command, and what that depends on.
type Said<'a> = (&'a Value, Condition<'a>);

/// What a command depends on.
#[derive(Clone, Copy)]
enum Condition<'a> {
    None,
    /// That what it is about is not there.
    IsAbsent,
    /// That it has this version.
    HasVersion(&'a str),
}

/// A path with a query behind it.
fn target(path: &str, query: &[(&str, &str)]) -> String {
    let mut target = path.to_owned();
    for (n, (name, value)) in query.iter().enumerate() {
        let value = utf8_percent_encode(value, ENCODED);
        let separator = if n == 0 { '?' } else { '&' };
        target.push_str(&format!("{separator}{name}={value}"));
    }
    target
}

/// A text as one segment of a path.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Asks an admin API.
#[derive(Clone, Debug)]
pub struct AdminClient {
    authority: Authority,
    credential: Credential,
    /// How long an answer may take.
    limit: Duration,
}

impl AdminClient {
    /// A client of the API at an address such as `http://127.0.0.1:9901`.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(url: &str, credential: Credential, limit: Duration) -> Result<Self, ClientError> {
        let bad = |why| ClientError::BadAddress {
            url: url.to_owned(),
            why,
        };
        let example = "write it as `http://127.0.0.1:9901`";
        let uri: Uri = url.parse().map_err(|_| bad(example))?;
        if uri.scheme() == Some(&Scheme::HTTPS) {
            return Err(bad("it is served over http:// only"));
        }
        let has_path = uri.path() != "/" || uri.query().is_some();
        match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP && !has_path => Ok(Self {
                authority: authority.clone(),
                credential,
                limit,
            }),
            _ => Err(bad(example)),
        }
    }

    /// The address.
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Reads what is at a path.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ClientError> {
        self.ask(Method::GET, &target(path, query), None).await
    }

    /// Reads a text that is at a path.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let (status, body) = self.answer(Method::GET, path, None).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        let text = String::from_utf8(body.into());
        text.map_err(|_| self.odd("its answer is no text".to_owned()))
    }

    /// Gives a command.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn command(
        &self,
        method: Method,
        path: &str,
        said: &Value,
    ) -> Result<Value, ClientError> {
        self.command_if(method, path, said, None).await
    }

    /// Gives a command that is to be carried out only if what it is about still has a version.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn command_if(
        &self,
        method: Method,
        path: &str,
        said: &Value,
        version: Option<&str>,
    ) -> Result<Value, ClientError> {
        let condition = version.map_or(Condition::None, Condition::HasVersion);
        self.ask(method, path, Some((said, condition))).await
    }

    /// Puts something at a path where nothing is yet.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create(&self, path: &str, said: &Value) -> Result<Value, ClientError> {
        let said = Some((said, Condition::IsAbsent));
        self.ask(Method::PUT, path, said).await
    }

    async fn ask(
        &self,
        method: Method,
        target: &str,
        said: Option<Said<'_>>,
    ) -> Result<Value, ClientError> {
        let (status, body) = self.answer(method, target, said).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let value = serde_json::from_slice(&body);
        value.map_err(|_| self.odd("its answer is not JSON".to_owned()))
    }

    async fn answer(
        &self,
        method: Method,
        target: &str,
        said: Option<Said<'_>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = self.connect().await?;
        let exchange = self.exchange(stream, self.request(method, target, said)?);
        let answered = timeout(self.limit, exchange).await;
        answered.map_err(|_| self.too_late())?
    }

    fn too_late(&self) -> ClientError {
        ClientError::TimedOut {
            url: self.url(),
            limit: self.limit,
        }
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            url: self.url(),
            source,
        };
        let host = self.authority.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.authority.port_u16().unwrap_or(80);
        let limit = CONNECT_TIMEOUT.min(self.limit);
        let connected = timeout(limit, TcpStream::connect((host, port))).await;
        connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)
    }

    fn request(
        &self,
        method: Method,
        target: &str,
        said: Option<Said<'_>>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.authority.as_str())
            .header(header::ACCEPT, "application/json");
        let request = match &self.credential {
            Credential::Token(token) => {
                let value = format!("Bearer {}", token.reveal());
                request.header(header::AUTHORIZATION, value)
            }
            Credential::User(Some(name)) => request.header(USER_HEADER, name.as_str()),
            Credential::User(None) => request,
        };
        let body = said.map(|(said, _)| said.to_string()).unwrap_or_default();
        let request = match said {
            Some(_) => request.header(header::CONTENT_TYPE, "application/json"),
            None => request,
        };
        let request = match said.map_or(Condition::None, |(_, condition)| condition) {
            Condition::None => request,
            Condition::IsAbsent => request.header(header::IF_NONE_MATCH, "*"),
            Condition::HasVersion(version) => {
                request.header(header::IF_MATCH, format!("\"{version}\""))
            }
        };
        // Only a token can hold what no header may.
        let unfit = |_| ClientError::BadAddress {
            url: self.url(),
            why: "the token has a character that no header can carry",
        };
        request.body(Full::new(body.into())).map_err(unfit)
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |source| ClientError::Broken {
            url: self.url(),
            source,
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // It ends with the exchange; what goes wrong with it shows there.
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body =
            body.collect()
                .await
                .map_err(|error| match error.downcast::<hyper::Error>() {
                    Ok(source) => broken(*source),
                    Err(error) => self.odd(if error.is::<LengthLimitError>() {
                        "its answer has no end".to_owned()
                    } else {
                        error.to_string()
                    }),
                })?;
        driver.abort();
        Ok((status, body.to_bytes()))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice(body) {
            Ok(problem) => ClientError::Refused { status, problem },
            Err(_) => self.odd(format!("it answers with status {status}")),
        }
    }

    /// Something that Serin would not have said.
    pub fn odd(&self, why: String) -> ClientError {
        ClientError::NotSerin {
            url: self.url(),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<AdminClient, ClientError> {
        AdminClient::new(url, Credential::User(None), Duration::from_secs(1))
    }

    #[test]
    fn an_address_is_a_host_with_a_port_over_http() {
        for url in [
            "http://127.0.0.1:9901",
            "http://127.0.0.1:9901/",
            "http://[::1]:9901",
            "http://edge",
        ] {
            assert_eq!(client(url).unwrap().url(), url.trim_end_matches('/'));
        }
        for url in [
            "",
            "127.0.0.1:9901",
            "localhost",
            "https://edge",
            "http://edge/serin",
            "http://edge/?a=b",
            "ftp://edge",
        ] {
            let error = client(url).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{url}` is not")), "{error}");
        }
    }

    #[test]
    fn a_token_is_in_no_message() {
        let token = Secret::new("hunter2\nhunter2hunter2");
        let credential = Credential::Token(token);
        let client = AdminClient::new("http://edge", credential, Duration::from_secs(1)).unwrap();
        let error = client.request(Method::GET, "/", None).unwrap_err();
        let said = format!("{error} {error:?} {client:?}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
