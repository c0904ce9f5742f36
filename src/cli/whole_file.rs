//! Files that are put in the place of what was there as a whole or not at all: whoever watches one never reads
//! half of it, and half an export looks like one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Whoever may read what its owner writes otherwise.
    AsUsual,
    /// Its owner alone.
    Owner,
}

/// Writes a file beside the one of its name, has it on the disk, and gives it the name.
///
/// # Errors
/// What `write` says, or why the file cannot be there. What was there before is there still then.
pub(super) fn put<E: From<io::Error>>(
    path: &Path,
    readers: Readers,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    // One that is left of another process would keep its mode.
    let _ = fs::remove_file(&beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if readers == Readers::Owner {
        options.mode(0o600);
    }
    let file = options.open(&beside).map_err(E::from);
    let written = file.and_then(|mut file| {
        write(&mut file)?;
        Ok(file.sync_all()?)
    });
    let named = written.and_then(|()| Ok(fs::rename(&beside, path)?));
    if named.is_err() {
        // What is left of it is of no use; there may be nothing.
        let _ = fs::remove_file(&beside);
    }
    named
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_there_as_a_whole_or_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        let read = || fs::read_to_string(&path).unwrap();
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let failed = put(&path, Readers::Owner, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the other half is lost"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the other half is lost");
        assert_eq!((read().as_str(), mode()), ("before", 0o666));
        put(&path, Readers::Owner, |file| file.write_all(b"whole")).unwrap();
        assert_eq!((read().as_str(), mode()), ("whole", 0o600));
        put(&path, Readers::AsUsual, |file| file.write_all(b"open")).unwrap();
        let usual = folder.path().join("usual");
        fs::write(&usual, "").unwrap();
        let usual = fs::metadata(&usual).unwrap().permissions().mode() & 0o777;
        assert_eq!((read().as_str(), mode()), ("open", usual));
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            2,
            "nothing is left beside"
        );
    }
}
