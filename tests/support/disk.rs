//! A disk that is soon full, and one that never makes anybody wait.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A disk of memory in the place of a folder.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one, which is gone when it is dropped.
    pub(crate) fn mount(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=12m", "tmpfs"];
        assert!(
            mount(&options, &folder),
            "this test mounts a small disk, which needs root (CAP_SYS_ADMIN), and in a container \
             `--privileged`"
        );
        Self(folder)
    }

    /// Takes all room that is left.
    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.0.join("filler")).unwrap();
        loop {
            match filler.write(&[7; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gives it back.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }

    /// Mounts it again with another option, such as `ro`.
    pub(crate) fn remount(&self, how: &str) {
        assert!(mount(&["-o", &format!("remount,{how}")], &self.0), "{how}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever uses it may end after this.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let status = Command::new("mount").args(arguments).arg(at).status();
    status.is_ok_and(|status| status.success())
}

/// A folder in memory, where there is one: a killed process loses nothing in either, and no other
/// load on the disk makes a write late.
pub(crate) fn fast_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        TempDir::new_in(memory).unwrap()
    } else {
        TempDir::new().unwrap()
    }
}
