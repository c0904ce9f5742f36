//! Opens what outlives the process, or something that says why it cannot be had.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapters::config_file::Source;
use crate::adapters::store::{EmbeddedStore, MemoryState, OpenError, Opened, UnusableStore};
use crate::config::state::{StateConfig, default_folder};

/// Opens the state of a configuration. One that comes from no file has a state that lives as long
/// as the process.
///
/// A state that cannot be used stops nobody: requests are served, and no rollout has a weight
/// until somebody has looked after it.
///
/// # Errors
/// When another process uses it: two would overwrite what the other has decided.
pub(crate) fn open(config: &StateConfig, source: Option<&Source>) -> Result<Opened, OpenError> {
    let Some(source) = source else {
        return Ok(in_memory());
    };
    let Some(folder) = folder(config, source) else {
        let reason = "there is no folder for the state: neither `state.path` nor $STATE_DIRECTORY, \
                      $XDG_STATE_HOME or $HOME says one";
        return Ok(unusable(reason.to_owned()));
    };
    match EmbeddedStore::open(&folder) {
        Ok(opened) => {
            let known = opened.saved.records.len();
            tracing::info!(folder = %folder.display(), known, "state");
            Ok(opened)
        }
        Err(error @ OpenError::Locked { .. }) => Err(error),
        Err(error @ (OpenError::Folder { .. } | OpenError::Unusable { .. })) => {
            Ok(unusable(error.to_string()))
        }
    }
}

/// Where the state is kept; a relative path is beside the configuration.
pub(super) fn folder(config: &StateConfig, source: &Source) -> Option<PathBuf> {
    let beside = |path: &PathBuf| {
        source
            .path
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .join(path)
    };
    let variable = |name: &str| std::env::var_os(name);
    config
        .path
        .as_ref()
        .map(beside)
        .or_else(|| default_folder(&variable))
}

fn in_memory() -> Opened {
    let state = MemoryState::default();
    Opened {
        saved: state.saved(),
        writer: Box::new(state.clone()),
        reader: Arc::new(state.clone()),
        outbox: Arc::new(state),
    }
}

fn unusable(reason: String) -> Opened {
    tracing::error!(
        reason,
        "serving with every rollout at weight 0, for its state is unknown"
    );
    let store = UnusableStore::new(reason);
    Opened {
        saved: crate::control::ports::SavedState::default(),
        writer: Box::new(store.clone()),
        reader: Arc::new(store.clone()),
        outbox: Arc::new(store),
    }
}
