//! Reads the configuration file, and the files it names.

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

/// Where a configuration was read from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
}

/// Reads a configuration file. Files that it names are looked for beside it.
///
/// # Errors
/// When it cannot be read, is not UTF-8, or what it says is wrong.
pub fn read(path: &Path) -> Result<Config, ConfigFileError> {
    read_with_text(path).map(|(_, config)| config)
}

/// The same, with the text of the file.
///
/// # Errors
/// As [`read`].
pub fn read_with_text(path: &Path) -> Result<(String, Config), ConfigFileError> {
    let unreadable = |source| ConfigFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let read_beside = |named: &Path| fs::read_to_string(folder.join(named));
    let config = config::parse(&text, &read_beside);
    let config = config.map_err(|errors| ConfigFileError::Invalid {
        path: path.to_owned(),
        errors,
    })?;
    Ok((text, config))
}
