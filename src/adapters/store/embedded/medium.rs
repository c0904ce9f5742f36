//! What the database stands on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Database, DatabaseError, ReadableDatabase};

use crate::control::ports::SavedState;

use super::fault::Fault;
use super::schema;

/// Memory for pages read: the whole of a common file, and little beside what a proxy needs.
const CACHE_BYTES: usize = 8 << 20;

/// What the database stands on: a file, or what a test puts in its place.
pub(super) trait Medium: Send {
    /// Opens what is there. Never makes anything new.
    ///
    /// # Errors
    /// When it is locked, damaged or cannot be read.
    fn open(&mut self, builder: &redb::Builder) -> Result<Database, DatabaseError>;

    /// Makes sure that what is written would be found by the next start.
    ///
    /// # Errors
    /// When it would not.
    fn check(&self) -> Result<(), Fault>;

    /// Its size in bytes.
    fn bytes(&self) -> u64;

    /// Writes another database, which takes the place of what is there once it is complete.
    ///
    /// # Errors
    /// When it could not be written; what is there stays then.
    fn write_anew(
        &mut self,
        fill: &mut dyn FnMut(&Database) -> Result<(), Fault>,
    ) -> Result<(), Fault>;

    /// Gives up the room held in reserve; `false` where none was.
    fn give_up_reserve(&mut self) -> bool;

    /// Takes room in reserve, where none is held yet; `false` where there is none to take.
    fn take_reserve(&mut self) -> bool;

    /// What to call it in a message.
    fn name(&self) -> String;
}

/// Opens a medium and reads it from end to end.
///
/// Every page is compared with its checksum each time: a file that something else has damaged is
/// found here. Damage can make the library panic where it expects its own invariants, and a
/// panic is as good a sign that the file cannot be used as an error, so it is made one.
pub(super) fn open(medium: &mut dyn Medium) -> Result<(Database, SavedState), Fault> {
    guarded(|| {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        builder.set_check_integrity_on_open(true);
        let database = medium.open(&builder)?;
        let saved = schema::read_through(&database.begin_read()?)?;
        Ok((database, saved))
    })
}

/// Does something, and makes an error of a panic.
pub(super) fn guarded<T>(act: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let acted = catch_unwind(AssertUnwindSafe(act));
    acted.unwrap_or_else(|panic| Err(Fault::Other(in_words(&*panic))))
}

/// What a panic said.
fn in_words(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it is damaged: {}", said.unwrap_or("no reason is known"))
}
