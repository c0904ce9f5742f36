//! All exit codes, in one place.

use std::process::ExitCode;

use anyhow::Error;

use crate::adapters::config_file::ConfigFileError;
use crate::runtime::bind::BindError;

/// What the help says about exit codes.
pub(crate) const HELP: &str = "Exit codes: 0 done, 1 failed, refused or rolled back, \
    2 usage or configuration, 4 timed out, 130 interrupted.";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or promoted.
    Done,
    /// Failed, refused, or rolled back.
    Refused,
    /// The command line, the configuration or the machine do not fit.
    Usage,
    /// It took too long.
    TimedOut,
    /// Somebody pressed Ctrl-C before it had come to anything.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::TimedOut => 4,
            // What shells say of a program that SIGINT (2) ended: 128 and the signal's number.
            Exit::Interrupted => 130,
        })
    }
}

/// How a command ends that could not be carried out.
pub(crate) fn of_error(error: &Error) -> Exit {
    if error.is::<ConfigFileError>() || error.is::<BindError>() || error.is::<Unusable>() {
        Exit::Usage
    } else {
        Exit::Refused
    }
}

/// Something on the command line that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(pub(crate) String);

/// What is printed of an error. Problems of a configuration begin with the place they are at, so
/// that editors find it; anything else begins with the program's name.
pub(crate) fn render(error: &Error) -> String {
    if let Some(ConfigFileError::Invalid { .. }) = error.downcast_ref() {
        format!("{error}").trim_end().to_owned()
    } else {
        format!("serin: {error:#}")
    }
}
