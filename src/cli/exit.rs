//! All exit codes, in one place.

use std::io;
use std::process::ExitCode;

use anyhow::Error;
use http::StatusCode;

use crate::adapters::config_file::ConfigFileError;
use crate::adapters::store::OpenError;
use crate::admin::client::ClientError;
use crate::runtime::bind::BindError;

/// What the help says about exit codes.
pub(crate) const HELP: &str = "Exit codes: 0 done, 1 failed, refused, different or rolled back, \
    2 usage or configuration, 3 unreachable, 4 timed out, 5 paused or waiting for approval, \
    130 interrupted, 141 whoever reads has seen enough.";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or promoted.
    Done,
    /// Failed, refused, or rolled back.
    Refused,
    /// Two configurations differ, and whether they do was asked.
    Different,
    /// The command line, the configuration or the machine do not fit.
    Usage,
    /// There is nobody to ask.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// It goes on when somebody says so.
    Paused,
    /// Somebody pressed Ctrl-C before it had come to anything.
    Interrupted,
    /// Whoever reads what is printed has seen enough, as `head` has.
    Unread,
}

/// What shells say of a program that SIGPIPE (13) ended: 128 and the signal's number.
pub(crate) const UNREAD: u8 = 141;

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Refused | Exit::Different => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::TimedOut => 4,
            Exit::Paused => 5,
            // What shells say of a program that SIGINT (2) ended: 128 and the signal's number.
            Exit::Interrupted => 130,
            Exit::Unread => UNREAD,
        })
    }
}

/// How a command ends that could not be carried out.
pub(crate) fn of_error(error: &Error) -> Exit {
    if is_unread(error) {
        return Exit::Unread;
    }
    let is_of_machine = error.is::<BindError>() || error.is::<OpenError>();
    if let Some(error) = error.downcast_ref() {
        of_client_error(error)
    } else if error.is::<ConfigFileError>() || is_of_machine || error.is::<Unusable>() {
        Exit::Usage
    } else {
        Exit::Refused
    }
}

/// Whether our own output went nowhere; what a server hung up on has an error of its own around it.
fn is_unread(error: &Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn of_client_error(error: &ClientError) -> Exit {
    match error {
        ClientError::BadAddress { .. } => Exit::Usage,
        ClientError::Unreachable { .. }
        | ClientError::Broken { .. }
        | ClientError::NotSerin { .. } => Exit::Unreachable,
        ClientError::TimedOut { .. } => Exit::TimedOut,
        // Without the right token nothing was decided: a script must not take that for a rollback.
        ClientError::Refused { status, .. } => match status.as_u16() {
            400 | 401 | 404 | 405 | 413 | 422 => Exit::Usage,
            _ => Exit::Refused,
        },
    }
}

/// Something on the command line that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(pub(crate) String);

/// What to do about an error, where that can be said.
fn hint(error: &Error) -> &'static str {
    match error.downcast_ref() {
        Some(ClientError::Unreachable { .. } | ClientError::NotSerin { .. }) => {
            "; is `serin serve` running there? `--admin URL` or SERIN_ADMIN name another address"
        }
        Some(ClientError::Refused { status, .. }) if *status == StatusCode::UNAUTHORIZED => {
            "; give one by `--token-file FILE`, SERIN_TOKEN_FILE or SERIN_TOKEN"
        }
        _ => "",
    }
}

/// What is printed of an error. Problems of a configuration begin with the place they are at, so
/// that editors find it; anything else begins with the program's name.
pub(crate) fn render(error: &Error) -> String {
    if let Some(ConfigFileError::Invalid { .. }) = error.downcast_ref() {
        format!("{error}").trim_end().to_owned()
    } else {
        format!("serin: {error:#}{}", hint(error))
    }
}
