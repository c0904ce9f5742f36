//! Where lines are written to: a stream of the process, or a file that others may move away.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process;
use std::thread::sleep;
use std::time::Duration;

use crate::config::LogTarget;

/// Who may read a file that is made: its owner and the group, for it tells who has asked for what.
const MODE: u32 = 0o640;

/// How soon a stream is tried again that takes nothing and does not let us wait for it.
const RETRY: Duration = Duration::from_millis(10);

/// Where lines are written to.
#[derive(Debug)]
pub struct Sink {
    target: LogTarget,
    file: File,
    /// The end of a line whose beginning was written. It goes first, so that no other line is ever
    /// written behind half a line.
    rest: Vec<u8>,
}

/// What came of lines.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Lines that are there as a whole.
    pub(super) whole: u64,
    /// Lines that are lost.
    pub(super) lost: u64,
    /// Why.
    pub(super) error: Option<io::Error>,
}

impl Sink {
    /// Opens what lines are to be written to.
    ///
    /// # Errors
    /// When it cannot be opened, or made where it is missing.
    pub fn open(target: LogTarget) -> io::Result<Self> {
        let file = open(&target)?;
        Ok(Self {
            target,
            file,
            rest: Vec::new(),
        })
    }

    /// Finds out whether a file could be opened, by whoever runs this, and leaves it as it is or is not.
    ///
    /// # Errors
    /// Why it could not.
    pub fn try_out(path: &Path) -> io::Result<()> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
            // To open something else, such as a pipe, is to do something.
            Ok(found) if !found.is_file() => Ok(()),
            Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Beside it: what is made here and removed may not be what somebody else begins to use.
                let beside = path.with_added_extension(format!("check-{}", process::id()));
                let mut made = OpenOptions::new();
                made.write(true).create_new(true).mode(MODE).open(&beside)?;
                fs::remove_file(&beside)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the file anew if another stands in its place, or none: somebody has moved it away.
    /// When that does not work, lines go on to the one that is open.
    pub(super) fn follow(&mut self) -> Written {
        let LogTarget::File(path) = &self.target else {
            return Written::default();
        };
        if is_same(&self.file, path) {
            return Written::default();
        }
        match open(&self.target) {
            Ok(file) => {
                let mut written = self.write(b"");
                written.lost += u64::from(!self.rest.is_empty());
                self.rest.clear();
                self.file = file;
                written
            }
            Err(error) => Written {
                error: Some(error),
                ..Written::default()
            },
        }
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Written {
        let mut written = Written::default();
        if !self.rest.is_empty() {
            let (bytes, error) = write_some(&mut self.file, &self.rest);
            self.rest.drain(..bytes);
            if error.is_some() {
                written.lost = count(lines);
                written.error = error;
                return written;
            }
            written.whole += 1;
        }
        let (bytes, error) = write_some(&mut self.file, lines);
        let (done, left) = lines.split_at(bytes);
        let is_torn = done.last().is_some_and(|byte| *byte != b'\n');
        if is_torn {
            let end = left.iter().position(|byte| *byte == b'\n');
            let end = end.map_or(left.len(), |place| place + 1);
            self.rest.extend_from_slice(&left[..end]);
        }
        written.whole += count(done);
        written.lost = count(left) - u64::from(is_torn);
        written.error = error;
        written
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Writes as much as goes, and says how much that was and why not all.
fn write_some(file: &mut File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut done = 0;
    while done < bytes.len() {
        match file.write(&bytes[done..]) {
            Ok(0) => return (done, Some(ErrorKind::WriteZero.into())),
            Ok(more) => done += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever gave us the stream has set it so; it is theirs, and left as it is.
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(RETRY),
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

fn open(target: &LogTarget) -> io::Result<File> {
    // The streams are used past the standard library's buffers, which would hide how far a write
    // has come.
    let owned = match target {
        LogTarget::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
        LogTarget::Stderr => io::stderr().as_fd().try_clone_to_owned()?,
        LogTarget::File(path) => return open_file(path),
    };
    Ok(File::from(owned))
}

fn open_file(path: &Path) -> io::Result<File> {
    // To open a pipe for writing only would wait for somebody who reads it.
    let is_pipe = fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    OpenOptions::new()
        .append(true)
        .read(is_pipe)
        .create(true)
        .mode(MODE)
        .open(path)
}

fn is_same(file: &File, path: &Path) -> bool {
    let identity = |found: Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn sink_at(path: &Path) -> Sink {
        Sink::open(LogTarget::File(path.to_owned())).unwrap()
    }

    #[test]
    fn a_file_is_appended_to_and_only_its_owner_and_group_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(sink_at(&path).write(b"a\nb\n").whole, 2);
        assert_eq!(sink_at(&path).write(b"c\n").whole, 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\nc\n");
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777 & !MODE, 0, "{mode:o}");
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut sink = sink_at(&path);
        sink.write(b"a\n");
        fs::rename(&path, &moved).unwrap();
        sink.write(b"b\n");
        assert!(sink.follow().error.is_none());
        sink.write(b"c\n");
        assert_eq!(fs::read_to_string(&moved).unwrap(), "a\nb\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "c\n");
        fs::remove_file(&path).unwrap();
        sink.follow();
        sink.write(b"d\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "d\n");
    }

    #[test]
    fn where_no_other_file_can_be_opened_the_old_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        let moved = folder.path().join("moved");
        fs::create_dir(&below).unwrap();
        let mut sink = sink_at(&below.join("log"));
        fs::rename(&below, &moved).unwrap();
        assert!(sink.follow().error.is_some());
        assert_eq!(sink.write(b"a\n").whole, 1);
        assert_eq!(fs::read_to_string(moved.join("log")).unwrap(), "a\n");
    }

    #[test]
    fn a_line_that_was_torn_is_ended_before_another_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = sink_at(&path);
        sink.file.write_all(b"one\ntw").unwrap();
        sink.rest = b"o\n".to_vec();
        let written = sink.write(b"three\n");
        assert_eq!((written.whole, written.lost), (2, 0));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn what_a_stream_does_not_take_is_counted_to_the_line() {
        // The other end takes some, and then is gone.
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let mut sink = Sink {
            target: LogTarget::Stdout,
            file: File::from(std::os::fd::OwnedFd::from(ours)),
            rest: Vec::new(),
        };
        let written = sink.write(b"a\nb\n");
        assert_eq!((written.whole, written.lost), (0, 2));
        assert!(written.error.is_some());
        sink.rest = b"o\n".to_vec();
        let written = sink.write(b"a\nb\n");
        assert_eq!((written.whole, written.lost), (0, 2));
        assert_eq!(sink.rest, b"o\n", "it is tried again");
    }
}
