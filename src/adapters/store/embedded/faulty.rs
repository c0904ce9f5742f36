//! A disk in memory that hangs, fails, fills up and forgets what was not synced, as told.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::fault::Fault;
use super::medium::Medium;
use super::schema;

/// What the file system gives out room in.
const BLOCK_BYTES: u64 = 4096;

/// How much of a write a power cut leaves whole.
const SECTOR_BYTES: usize = 512;

/// A disk with one file. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
pub(super) struct State {
    bytes: Vec<u8>,
    /// As it was when it was synced last, and what was done since.
    synced: Vec<u8>,
    since: Vec<Change>,
    /// The blocks that take room.
    blocks: BTreeSet<u64>,
    /// How many there is room for; none for any number.
    pub(super) room_blocks: Option<usize>,
    reserve_blocks: usize,
    /// After how many more writes and syncs all fail.
    pub(super) fails_after: Option<u32>,
    /// How many fail then, before the disk works again; none for all.
    pub(super) fails_for: Option<u32>,
    pub(super) hangs: bool,
    /// How many bytes were read.
    pub(super) read_bytes: usize,
    /// How often all was written anew.
    pub(super) renewals: u32,
    /// What takes the place of it all when it is opened the next time.
    renewed: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl FaultyDisk {
    /// A disk with an empty database.
    pub(super) fn new() -> Self {
        let disk = Self::default();
        let database = Database::builder()
            .create_with_backend(disk.clone())
            .unwrap();
        schema::create(&database).unwrap();
        database.close().unwrap();
        disk
    }

    /// A disk with these bytes.
    pub(super) fn with_bytes(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.state().synced.clone_from(&bytes);
        disk.state().bytes = bytes;
        disk
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// Lets a disk that hangs go on.
    pub(super) fn wake(&self) {
        self.state().hangs = false;
        self.0.1.notify_all();
    }

    /// The bytes as the next process would find them.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// The bytes as a power cut might leave them: of what was not synced, what `is_kept` says,
    /// and of the last of that only the beginning.
    pub(super) fn after_power_cut(&self, mut is_kept: impl FnMut() -> bool) -> Vec<u8> {
        let state = self.state();
        let mut bytes = state.synced.clone();
        for change in &state.since {
            match change {
                Change::Length(length) if is_kept() => {
                    bytes.resize(usize::try_from(*length).unwrap(), 0);
                }
                Change::Write(offset, data) => {
                    for (sector, data) in data.chunks(SECTOR_BYTES).enumerate() {
                        let at = usize::try_from(*offset).unwrap() + sector * SECTOR_BYTES;
                        if is_kept() && bytes.len() >= at + data.len() {
                            bytes[at..at + data.len()].copy_from_slice(data);
                        }
                    }
                }
                Change::Length(_) => {}
            }
        }
        bytes
    }

    /// Waits while the disk hangs, and fails where it is told to.
    fn use_up(&self) -> io::Result<MutexGuard<'_, State>> {
        let hung = self.0.1.wait_while(self.state(), |state| state.hangs);
        let mut state = hung.unwrap();
        match (state.fails_after, state.fails_for) {
            (Some(0), Some(0)) => (state.fails_after, state.fails_for) = (None, None),
            (Some(0), left) => {
                state.fails_for = left.map(|left| left - 1);
                return Err(io::Error::other("the disk fails"));
            }
            (Some(left), _) => state.fails_after = Some(left - 1),
            (None, _) => {}
        }
        Ok(state)
    }
}

fn range(offset: u64, length: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap();
    start..start + length
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        state.read_bytes += out.len();
        let bytes = state.bytes.get(range(offset, out.len()));
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.use_up()?;
        state.bytes.resize(usize::try_from(len).unwrap(), 0);
        // What is cut off takes no room, and what is added takes none before it is written.
        state.blocks.split_off(&len.div_ceil(BLOCK_BYTES));
        state.since.push(Change::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.use_up()?;
        state.synced = state.bytes.clone();
        state.since.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.use_up()?;
        let first = offset / BLOCK_BYTES;
        let end = (offset + data.len() as u64).div_ceil(BLOCK_BYTES);
        let added = (first..end)
            .filter(|block| !state.blocks.contains(block))
            .count();
        let taken = state.blocks.len() + state.reserve_blocks + added;
        if added > 0 && state.room_blocks.is_some_and(|room| taken > room) {
            return Err(ErrorKind::StorageFull.into());
        }
        state.blocks.extend(first..end);
        let place = range(offset, data.len());
        let bytes = state.bytes.get_mut(place);
        bytes.ok_or(ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        state.since.push(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}

/// The medium of such a disk.
#[derive(Debug)]
pub(super) struct FaultyMedium(pub(super) FaultyDisk);

/// What this medium holds in reserve.
const RESERVE_BLOCKS: usize = 64;

impl Medium for FaultyMedium {
    fn open(&mut self, builder: &Builder) -> Result<Database, DatabaseError> {
        let mut state = self.0.state();
        if let Some(bytes) = state.renewed.take() {
            state.synced.clone_from(&bytes);
            state.bytes = bytes;
            state.since.clear();
        }
        drop(state);
        builder.create_with_backend(self.0.clone())
    }

    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.0.state().bytes.len() as u64
    }

    fn write_anew(
        &mut self,
        fill: &mut dyn FnMut(&Database) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let new = FaultyDisk::default();
        let database = Builder::new().create_with_backend(new.clone())?;
        fill(&database)?;
        database.close()?;
        let mut state = self.0.use_up().map_err(redb::StorageError::from)?;
        state.renewed = Some(new.bytes());
        state.renewals += 1;
        Ok(())
    }

    fn give_up_reserve(&mut self) -> bool {
        std::mem::take(&mut self.0.state().reserve_blocks) > 0
    }

    fn take_reserve(&mut self) -> bool {
        let mut state = self.0.state();
        let taken = state.blocks.len() + RESERVE_BLOCKS;
        if state.room_blocks.is_none_or(|room| taken <= room) {
            state.reserve_blocks = RESERVE_BLOCKS;
        }
        state.reserve_blocks > 0
    }

    fn name(&self) -> String {
        "the state file `disk`".to_owned()
    }
}
