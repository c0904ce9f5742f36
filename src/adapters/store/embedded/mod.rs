//! State in one file that outlives the process: `state.redb` in a folder of its own.
//!
//! A transition is written as a whole and synced before [`StateWriter::save`] returns. The file
//! is read from end to end when it is opened, so one that is damaged is refused then; it is never
//! replaced by a new one. What a `kill -9` leaves is the last transition that was written, or the
//! one that was being written, whole.
//!
//! `folder` says whose the folder is and how the file comes into it, `medium` opens it, `schema`
//! says what stands where, `commit` writes (`callers` what concerns single ones), `renewal` writes all anew after one
//! was erased, `history` keeps the points, `writer` is the thread
//! that does it, an `order` at a time, and `reader` looks on; `shared` is what the two have in common, `waiting`
//! what of it callers said.

mod apps;
mod callers;
mod codec;
mod commit;
mod fault;
#[cfg(test)]
mod faulty;
mod feedback;
mod folder;
mod history;
mod medium;
mod open_error;
mod order;
mod pace;
mod reader;
mod renewal;
mod schema;
mod shared;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::control::ports::{Outbox, SavedState, StateReader, StateWriter};

use self::fault::Fault;
use self::folder::Folder;
use self::medium::Medium;
use self::pace::Pace;
use self::reader::EmbeddedReader;
use self::shared::Shared;
use self::writer::EmbeddedWriter;

pub use self::open_error::OpenError;

/// State in one file.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedStore;

/// A store that was opened.
pub struct Opened {
    /// Writes. When it is dropped, what waits is written, for at most two seconds.
    pub writer: Box<dyn StateWriter>,
    /// Reads.
    pub reader: Arc<dyn StateReader>,
    /// The messages that wait to be delivered.
    pub outbox: Arc<dyn Outbox>,
    /// What was written down before.
    pub saved: SavedState,
}

impl EmbeddedStore {
    /// Opens the state in a folder. The folder is made where it is missing, and an empty file in
    /// it where there is none; the folder belongs to the writer until that is dropped.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process, or another store in this one, has the folder;
    /// [`OpenError::Folder`] when it cannot be made or written to; [`OpenError::Unusable`] when
    /// the file is empty, torn, damaged, of a later version, or no state of Serin's. What it says is
    /// not touched then; in one that was cut to a length that a file may have, the library notes
    /// that in its header.
    pub fn open(folder: &Path) -> Result<Opened, OpenError> {
        let mut medium = Folder::claim(folder)?;
        let opened = medium::open(&mut medium).and_then(|(database, saved)| {
            let database = medium::guarded(|| renewal::renewed(database, &mut medium))?;
            let database = medium::guarded(|| compacted(database, &mut medium))?;
            Ok((database, saved))
        });
        let (database, saved) = opened.map_err(|fault| medium.unusable(&fault))?;
        start(Box::new(medium), database, saved, Pace::default()).map_err(|error| {
            OpenError::Folder {
                path: folder.to_owned(),
                reason: error.to_string(),
            }
        })
    }
}

/// Starts the writer's thread on an open database.
fn start(
    mut medium: Box<dyn Medium>,
    database: redb::Database,
    saved: SavedState,
    pace: Pace,
) -> std::io::Result<Opened> {
    let shared = Arc::new(Shared::new(medium.name()));
    shared.note_shortage(!medium.take_reserve());
    shared.swap(Some(database));
    shared.note_success(medium.bytes());
    let reader = Arc::new(EmbeddedReader(Arc::clone(&shared)));
    Ok(Opened {
        writer: Box::new(EmbeddedWriter::start(shared, medium, pace)?),
        reader: Arc::<EmbeddedReader>::clone(&reader),
        outbox: reader,
        saved,
    })
}

/// A file smaller than this is left as it is.
const COMPACTED_BYTES_MIN: u64 = 16 << 20;

/// Makes a file smaller of which more than half is empty; points of history come and go, and the
/// file doubles where it grows.
fn compacted(
    mut database: redb::Database,
    medium: &mut dyn Medium,
) -> Result<redb::Database, Fault> {
    let bytes = medium.bytes();
    if bytes < COMPACTED_BYTES_MIN {
        return Ok(database);
    }
    let used_bytes = {
        let stats = schema::begin(&database)?.stats()?;
        stats.allocated_pages() * stats.page_size() as u64
    };
    if used_bytes < bytes / 2
        && let Err(error) = database.compact()
    {
        // It can be used as it is, if it can be opened anew.
        tracing::warn!(%error, "the state file could not be made smaller");
        drop(database);
        return Ok(medium::open(medium)?.0);
    }
    Ok(database)
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Opened");
        shown.field("saved", &self.saved).finish_non_exhaustive()
    }
}
