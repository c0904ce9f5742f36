//! Why a state folder cannot be used.

use std::path::PathBuf;

/// Why a state folder cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error(
        "the state folder `{path}` is in use by {holder}; stop that one, or give this one a \
         `state.path` of its own",
        path = path.display(),
        holder = holder(*process)
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The number of that process, where it left a note.
        process: Option<u32>,
    },
    /// The folder cannot be made, or not be written to.
    #[error("the state folder `{path}` cannot be used: {reason}", path = path.display())]
    Folder {
        /// The folder, or the file in it that was to be written.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The file is not what was written to it, or not ours. What it says is left as it is.
    #[error(
        "the state file `{path}` cannot be used: {reason}; restore it from a copy, or move it away \
         to begin anew with every rollout at weight 0",
        path = path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(
        || "another process".to_owned(),
        |process| format!("process {process}"),
    )
}
