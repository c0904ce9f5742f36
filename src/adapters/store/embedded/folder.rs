//! The folder of the state: whose it is, and how a file comes into it.
//!
//! `state.lock` is locked by the process that the folder belongs to, and names it. `state.redb`
//! is the database; it is made under another name and renamed once it is on the disk, so a file
//! of this name was complete once and is never taken for a new one. `state.reserve` is room that
//! is given up when the disk is full, so that a rollback can still be written down.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError};

use super::fault::Fault;
use super::medium::Medium;
use super::open_error::OpenError;
use super::schema;

const FILE: &str = "state.redb";
const FILE_IN_MAKING: &str = "state.redb.new";
const LOCK: &str = "state.lock";
const RESERVE: &str = "state.reserve";

/// Room for the pages of a hundred saves at least, of which each gives back most of what the one
/// before took; and little enough for any disk.
const RESERVE_BYTES: u64 = 4 << 20;

/// What nobody but the owner's group needs to read: names of flags, and who did what.
const FOLDER_MODE: u32 = 0o750;

/// A folder that belongs to this process, as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Device and number of the file that was opened.
    identity: Option<(u64, u64)>,
    has_reserve: bool,
    /// Held, never used.
    _lock: File,
}

impl Folder {
    /// Takes possession of a folder, and makes what is missing in it.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        make_folder(path).map_err(|error| unusable_folder(path, &error))?;
        let lock = lock(path)?;
        let file = path.join(FILE);
        match fs::symlink_metadata(&file) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_file(path, &mut schema::create).map_err(|fault| OpenError::Folder {
                    path: path.to_owned(),
                    reason: fault.to_string(),
                })?;
            }
            Err(error) => return Err(unusable_folder(&file, &error)),
        }
        Ok(Self {
            path: path.to_owned(),
            identity: None,
            has_reserve: false,
            _lock: lock,
        })
    }

    /// The error of a file that is there and cannot be used.
    pub(super) fn unusable(&self, fault: &Fault) -> OpenError {
        if let Fault::Database(redb::Error::DatabaseAlreadyOpen) = fault {
            return OpenError::Locked {
                path: self.path.clone(),
                process: None,
            };
        }
        OpenError::Unusable {
            path: self.file(),
            reason: fault.to_string(),
        }
    }

    fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    fn identity_now(&self) -> io::Result<(u64, u64)> {
        let metadata = fs::metadata(self.file())?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

impl Medium for Folder {
    fn open(&mut self, builder: &Builder) -> Result<Database, DatabaseError> {
        let database = builder.open(self.file())?;
        let identity = self.identity_now();
        self.identity = Some(identity.map_err(redb::StorageError::from)?);
        Ok(database)
    }

    fn check(&self) -> Result<(), Fault> {
        match self.identity_now() {
            Ok(identity) if Some(identity) == self.identity => Ok(()),
            Ok(_) => Err(Fault::Gone("it was replaced by another file".to_owned())),
            Err(error) => Err(Fault::Gone(format!("it is gone: {error}"))),
        }
    }

    fn bytes(&self) -> u64 {
        fs::metadata(self.file()).map_or(0, |metadata| metadata.len())
    }

    fn write_anew(
        &mut self,
        fill: &mut dyn FnMut(&Database) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        make_file(&self.path, fill)
    }

    fn give_up_reserve(&mut self) -> bool {
        std::mem::take(&mut self.has_reserve) && fs::remove_file(self.path.join(RESERVE)).is_ok()
    }

    fn take_reserve(&mut self) -> bool {
        if !self.has_reserve {
            let reserve = self.path.join(RESERVE);
            self.has_reserve = make_reserve(&reserve).is_ok();
            if !self.has_reserve {
                // A part of it is no use, and takes room that may be the last.
                let _ = fs::remove_file(reserve);
            }
        }
        self.has_reserve
    }

    fn name(&self) -> String {
        format!("the state file `{}`", self.file().display())
    }
}

fn unusable_folder(path: &Path, error: &io::Error) -> OpenError {
    OpenError::Folder {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Makes the folder where it is missing, so that it outlives a power cut.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Locks the folder, and leaves a note of who did.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let opened = options.open(&path);
    let mut lock = opened.map_err(|error| unusable_folder(&path, &error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Locked {
                path: folder.to_owned(),
                process: noted_process(&mut lock),
            });
        }
        // A file system without locks; the database has one of its own to try.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(unusable_folder(&path, &error)),
    }
    // Only a courtesy to whoever finds it locked, so a full disk is no reason to go without.
    let _ = lock
        .set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(lock)
}

/// The process that a lock's note names.
fn noted_process(lock: &mut File) -> Option<u32> {
    let mut note = String::new();
    lock.seek(SeekFrom::Start(0)).ok()?;
    lock.take(32).read_to_string(&mut note).ok()?;
    note.trim().parse().ok()
}

/// Makes a database, and gives it its name once all of it is on the disk.
fn make_file(
    folder: &Path,
    fill: &mut dyn FnMut(&Database) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let unnamed = folder.join(FILE_IN_MAKING);
    match fs::remove_file(&unnamed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(redb::StorageError::from(error).into());
        }
        _ => {}
    }
    let database = Database::create(&unnamed)?;
    fill(&database)?;
    database.close()?;
    let complete = File::open(&unnamed).and_then(|file| file.sync_all());
    let named = complete.and_then(|()| fs::rename(&unnamed, folder.join(FILE)));
    let named = named.and_then(|()| sync_folder(folder));
    Ok(named.map_err(redb::StorageError::from)?)
}

/// Takes room on the disk.
fn make_reserve(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.blocks() * 512 >= RESERVE_BYTES) {
        return Ok(());
    }
    let mut file = File::create(path)?;
    // A file system may store a block of zeros, or of what it has already, in no room at all.
    let mut block = [0_u64; 512];
    let mut number = 1_u64;
    for _ in 0..RESERVE_BYTES / 4096 {
        for word in &mut block {
            // Steps of Marsaglia's xorshift (2003), which repeat after 2^64 - 1.
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            *word = number;
        }
        let bytes: Vec<u8> = block.iter().flat_map(|word| word.to_le_bytes()).collect();
        file.write_all(&bytes)?;
    }
    file.sync_all()
}
