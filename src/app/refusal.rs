//! Why the program cannot start with a configuration, as the errors of a file are told.

use crate::adapters::config_file::{ConfigFileError, Source};
use crate::app::reload::objection;
use crate::config::{self, Objection};
use crate::control::installation::FlagRefusal;

/// Why a configuration cannot start beside where its rollouts are.
pub(crate) fn refused_flags(refusals: &[FlagRefusal], source: Option<&Source>) -> anyhow::Error {
    let objections: Vec<_> = refusals.iter().map(objection).collect();
    refused(&objections, source)
}

/// Why a configuration that is right in itself cannot start.
pub(crate) fn refused(objections: &[Objection], source: Option<&Source>) -> anyhow::Error {
    let (path, text) = source.map_or_else(Default::default, |source| {
        (source.path.clone(), source.text.as_str())
    });
    let errors = config::object(text, objections);
    let files = source.map(|source| source.files.clone());
    ConfigFileError::Invalid {
        path,
        errors,
        files: files.unwrap_or_default(),
    }
    .into()
}
