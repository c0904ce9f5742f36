//! What can go wrong with the file while it is in use.

use std::io::ErrorKind;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The database or the disk below it.
    #[error("{0}")]
    Database(#[from] redb::Error),
    /// The file is not where it was opened.
    #[error("{0}")]
    Gone(String),
    /// A value cannot be turned into text or back.
    #[error("a stored value is not understood: {0}")]
    Value(#[from] serde_json::Error),
    /// Something that is none of the above, such as a panic below.
    #[error("{0}")]
    Other(String),
}

impl Fault {
    /// Whether room on the disk would have helped.
    pub(super) fn is_lack_of_room(&self) -> bool {
        let Self::Database(redb::Error::Io(error)) = self else {
            return false;
        };
        matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
        )
    }
}

macro_rules! from_parts {
    ($($part:ident),*) => {$(
        impl From<redb::$part> for Fault {
            fn from(error: redb::$part) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}

from_parts! {
    StorageError, TableError, TransactionError, CommitError, DatabaseError, SetDurabilityError
}
