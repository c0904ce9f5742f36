//! Reads the configuration file, and the files it names.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, ConfigErrors};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file cannot be read.
    #[error("cannot read `{}`", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is wrong.
    #[error("{}", .errors.display(.path))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        errors: ConfigErrors,
    },
}

/// Reads a configuration file. Files that it names are looked for beside it.
///
/// # Errors
/// When it cannot be read, is not UTF-8, or what it says is wrong.
pub fn read(path: &Path) -> Result<Config, ConfigFileError> {
    let unreadable = |source| ConfigFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let read_beside = |named: &Path| fs::read_to_string(folder.join(named));
    config::parse(&text, &read_beside, &|name| env::var(name)).map_err(|errors| {
        ConfigFileError::Invalid {
            path: path.to_owned(),
            errors,
        }
    })
}
