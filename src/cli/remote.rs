//! How commands reach a running Serin.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::admin::client::{AdminClient, ClientError, Credential, StreamEvent};
use crate::cli::exit::Unusable;
use crate::domain::secret::Secret;

/// Which Serin a command is for, and who gives it.
#[derive(Args)]
pub(crate) struct RemoteArguments {
    /// The address of the admin API.
    #[arg(
        long,
        env = "SERIN_ADMIN",
        default_value = "http://127.0.0.1:9901",
        value_name = "URL"
    )]
    admin: String,
    /// A file with the token to show; SERIN_TOKEN may hold the token itself.
    #[arg(long, env = "SERIN_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The same for a command that asks once.
#[derive(Args)]
pub(crate) struct CallArguments {
    #[command(flatten)]
    remote: RemoteArguments,
    /// How long to wait for the answer, such as `10s`.
    #[arg(
        long,
        default_value = "40s",
        value_parser = humantime::parse_duration,
        value_name = "DURATION"
    )]
    timeout: Duration,
}

impl CallArguments {
    /// Whether JSON is to be printed.
    pub(crate) const fn is_json(&self) -> bool {
        self.remote.json
    }

    /// Gets ready to ask.
    pub(crate) fn open(&self) -> anyhow::Result<Remote> {
        self.remote.open_within(self.timeout)
    }
}

impl RemoteArguments {
    /// Gets ready to ask, and to wait so long for each answer.
    pub(crate) fn open_within(&self, timeout: Duration) -> anyhow::Result<Remote> {
        let client = AdminClient::new(&self.admin, self.credential()?, timeout)?;
        Ok(Remote {
            client,
            runtime: Builder::new_current_thread().enable_all().build()?,
            is_json: self.json,
        })
    }

    fn credential(&self) -> anyhow::Result<Credential> {
        if let Some(path) = &self.token_file {
            let shown = path.display();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Unusable(format!("cannot read `{shown}`: {error}")))?;
            let token = text.trim();
            if token.is_empty() {
                return Err(Unusable(format!("`{shown}` holds no token")).into());
            }
            return Ok(Credential::Token(Secret::new(token)));
        }
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        Ok(match variable("SERIN_TOKEN") {
            Some(token) => Credential::Token(Secret::new(token)),
            // A name that the API would not take is not worth an error.
            None => Credential::User(variable("USER").and_then(|name| name.parse().ok())),
        })
    }
}

/// A Serin that can be asked.
pub(crate) struct Remote {
    client: AdminClient,
    runtime: Runtime,
    pub(crate) is_json: bool,
}

impl Remote {
    /// The address that is asked.
    pub(crate) fn url(&self) -> String {
        self.client.url()
    }

    /// Reads what is at a path.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ClientError> {
        self.runtime.block_on(self.client.get(path, query))
    }

    /// Reads a text that is at a path.
    pub(crate) fn get_text(&self, path: &str) -> Result<String, ClientError> {
        self.runtime.block_on(self.client.get_text(path))
    }

    /// Reads a stream of events until it ends or nobody wants more.
    pub(crate) fn stream(
        &self,
        path: &str,
        query: &[(&str, &str)],
        wants: impl FnMut(&StreamEvent) -> bool,
    ) -> Result<(), ClientError> {
        let stream = self.client.stream(path, query, wants);
        self.runtime.block_on(stream)
    }

    /// Reads an answer of any length, part by part, until nobody wants more.
    pub(crate) fn download(
        &self,
        asked: (Method, &str),
        said: Option<&Value>,
        take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), ClientError> {
        let download = self.client.download(asked, said, take);
        self.runtime.block_on(download)
    }

    /// Gives a command.
    pub(crate) fn command(
        &self,
        method: Method,
        path: &str,
        said: &Value,
    ) -> Result<Value, ClientError> {
        self.runtime
            .block_on(self.client.command(method, path, said))
    }

    /// Gives a command that is to be carried out only if what it is about still has a version.
    pub(crate) fn command_if(
        &self,
        method: Method,
        path: &str,
        said: &Value,
        version: Option<&str>,
    ) -> Result<Value, ClientError> {
        let command = self.client.command_if(method, path, said, version);
        self.runtime.block_on(command)
    }

    /// Puts something at a path where nothing is yet.
    pub(crate) fn create(&self, path: &str, said: &Value) -> Result<Value, ClientError> {
        self.runtime.block_on(self.client.create(path, said))
    }

    /// What an answer means.
    pub(crate) fn read<T: DeserializeOwned>(&self, answer: Value) -> Result<T, ClientError> {
        serde_json::from_value(answer).map_err(|error| {
            let why = format!("its answer is of another version ({error})");
            self.client.odd(why)
        })
    }

    /// Prints an answer as JSON where that is wanted; gives it back where it is not.
    pub(crate) fn unless_json(&self, answer: Value) -> Option<Value> {
        if self.is_json {
            println!("{answer:#}");
            None
        } else {
            Some(answer)
        }
    }
}
