//! Real files, changed in the ways that editors, tools and clusters change them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// How long a change may take to be told.
const LIMIT: Duration = Duration::from_secs(10);

/// Long enough for hundreds of looks at [`BUSY`].
const QUIET: Duration = Duration::from_millis(300);

/// So slow a poll that only what the system reports is seen.
const REPORTS_ONLY: Pace = Pace {
    settle: Duration::from_millis(20),
    poll: Duration::from_secs(3600),
};

/// Looks all the time.
const BUSY: Pace = Pace {
    settle: Duration::from_millis(1),
    poll: Duration::from_millis(1),
};

/// Some files, watched.
struct Watched {
    folder: TempDir,
    watch: ConfigWatch,
    changed: told::Receiver<()>,
}

impl Watched {
    /// Watches `serin.yaml` and `callers.txt` of a folder, which `prepare` fills.
    fn new(pace: Pace, make: MakeWatcher, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let files = loaded(folder.path());
        let (watch, changed) = ConfigWatch::start_with(files, pace, make).unwrap();
        Self {
            folder,
            watch,
            changed,
        }
    }

    fn reported() -> Self {
        Self::new(REPORTS_ONLY, watcher, write_both)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    async fn is_told(&mut self, what: &str) {
        let told = timeout(LIMIT, self.changed.recv()).await;
        assert_eq!(told.expect(what), Some(()), "{what}");
    }

    /// Waits until a change is told of which the content is final: a file that is written in
    /// place may be seen half written first.
    async fn is_told_until_quiet(&mut self, what: &str) {
        self.is_told(what).await;
        while timeout(QUIET, self.changed.recv()).await.is_ok() {}
    }

    async fn is_quiet(&mut self, what: &str) {
        assert!(timeout(QUIET, self.changed.recv()).await.is_err(), "{what}");
    }
}

fn loaded(folder: &Path) -> Vec<LoadedFile> {
    ["serin.yaml", "callers.txt"]
        .map(|name| LoadedFile::missing(folder.join(name)).now())
        .to_vec()
}

fn write_both(folder: &Path) {
    fs::write(folder.join("serin.yaml"), "one").unwrap();
    fs::write(folder.join("callers.txt"), "a").unwrap();
}

/// As Kubernetes does: a folder for each version, a link to it, and links through that link.
fn mount(folder: &Path) {
    version(folder, "v1", "one");
    symlink("v1", folder.join("..data")).unwrap();
    for name in ["serin.yaml", "callers.txt"] {
        symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
    }
}

fn version(folder: &Path, version: &str, text: &str) {
    let versioned = folder.join(version);
    fs::create_dir(&versioned).unwrap();
    fs::write(versioned.join("serin.yaml"), text).unwrap();
    fs::write(versioned.join("callers.txt"), "a").unwrap();
}

fn swap(folder: &Path, version: &str) {
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

fn no_watches(_: SyncSender<Message>) -> notify::Result<RecommendedWatcher> {
    Err(notify::Error::new(ErrorKind::MaxFilesWatch))
}

#[tokio::test]
async fn a_file_written_in_place_is_told() {
    let mut watched = Watched::reported();
    for text in ["two", "three"] {
        watched.write("serin.yaml", text);
        watched.is_told_until_quiet(text).await;
    }
}

#[tokio::test]
async fn a_file_renamed_over_is_told_each_time() {
    let mut watched = Watched::reported();
    for text in ["two", "three", "four"] {
        watched.write(".serin.yaml.swp", text);
        fs::rename(watched.path(".serin.yaml.swp"), watched.path("serin.yaml")).unwrap();
        watched.is_told(text).await;
    }
}

#[tokio::test]
async fn a_named_file_counts_as_much() {
    let mut watched = Watched::reported();
    watched.write("callers.txt", "b");
    watched.is_told_until_quiet("another caller").await;
    watched.write("other.txt", "c");
    watched.is_quiet("a file that nobody names").await;
}

#[tokio::test]
async fn a_file_removed_and_written_again_is_told() {
    let mut watched = Watched::reported();
    fs::remove_file(watched.path("serin.yaml")).unwrap();
    watched.is_told("removed").await;
    watched.write("serin.yaml", "two");
    watched.is_told("back").await;
}

#[tokio::test]
async fn a_swapped_mount_is_told_each_time() {
    let mut watched = Watched::new(REPORTS_ONLY, watcher, mount);
    for (old, new) in [("v1", "v2"), ("v2", "v3")] {
        let folder = watched.folder.path();
        version(folder, new, new);
        swap(folder, new);
        fs::remove_dir_all(folder.join(old)).unwrap();
        watched.is_told(new).await;
        watched
            .is_quiet("what was removed is not read any more")
            .await;
    }
}

#[tokio::test]
async fn a_swap_to_the_same_content_is_no_change() {
    let mut watched = Watched::new(REPORTS_ONLY, watcher, mount);
    version(watched.folder.path(), "v2", "one");
    swap(watched.folder.path(), "v2");
    watched.is_quiet("the same content").await;
}

#[tokio::test]
async fn the_target_of_a_link_elsewhere_is_watched() {
    let elsewhere = tempfile::tempdir().unwrap();
    write_both(elsewhere.path());
    let target = elsewhere.path().join("serin.yaml");
    let mut watched = Watched::new(REPORTS_ONLY, watcher, |folder| {
        symlink(&target, folder.join("serin.yaml")).unwrap();
    });
    fs::write(&target, "two").unwrap();
    watched.is_told_until_quiet("the target").await;
    fs::remove_file(watched.path("serin.yaml")).unwrap();
    watched.write("serin.yaml", "three");
    watched.is_told("the link").await;
}

#[tokio::test]
async fn a_touched_or_read_file_is_no_change() {
    for pace in [REPORTS_ONLY, BUSY] {
        let mut watched = Watched::new(pace, watcher, write_both);
        watched.write("serin.yaml.new", "one");
        fs::rename(watched.path("serin.yaml.new"), watched.path("serin.yaml")).unwrap();
        let file = fs::File::options()
            .write(true)
            .open(watched.path("callers.txt"));
        file.unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::read(watched.path("serin.yaml")).unwrap();
        watched.is_quiet("nothing is different").await;
    }
}

#[tokio::test]
async fn a_directory_that_goes_and_comes_back_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("etc/serin");
    fs::create_dir_all(&inner).unwrap();
    write_both(&inner);
    let (_watch, mut changed) = ConfigWatch::start(loaded(&inner), REPORTS_ONLY).unwrap();
    let mut told = async |what: &str| {
        assert_eq!(timeout(LIMIT, changed.recv()).await.expect(what), Some(()));
    };
    fs::remove_dir_all(folder.path().join("etc")).unwrap();
    told("gone").await;
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("serin.yaml"), "two").unwrap();
    told("back").await;
    // And its new inode is watched.
    fs::write(inner.join("serin.yaml.new"), "three").unwrap();
    fs::rename(inner.join("serin.yaml.new"), inner.join("serin.yaml")).unwrap();
    told("changed").await;
}

#[tokio::test]
async fn without_watches_of_the_system_looking_now_and_then_is_enough() {
    let mut watched = Watched::new(BUSY, no_watches, mount);
    version(watched.folder.path(), "v2", "two");
    swap(watched.folder.path(), "v2");
    watched.is_told("swapped").await;
    fs::remove_dir_all(watched.path("v2")).unwrap();
    watched.is_told("gone").await;
}

#[tokio::test]
async fn a_change_between_loading_and_watching_is_told() {
    let folder = tempfile::tempdir().unwrap();
    write_both(folder.path());
    let files = loaded(folder.path());
    fs::write(folder.path().join("serin.yaml"), "two").unwrap();
    let (_watch, mut changed) = ConfigWatch::start(files, REPORTS_ONLY).unwrap();
    assert_eq!(timeout(LIMIT, changed.recv()).await, Ok(Some(())));
}

#[tokio::test]
async fn other_files_are_followed_when_told() {
    let mut watched = Watched::reported();
    let other = watched.path("other.txt");
    let mut files = loaded(watched.folder.path());
    files.push(LoadedFile::missing(other.clone()));
    fs::write(&other, "a").unwrap();
    watched.watch.follow(files);
    watched.is_told("written since it was looked for").await;
    fs::write(&other, "b").unwrap();
    watched.is_told("written").await;
}

#[tokio::test]
async fn changes_that_nobody_asks_for_are_one() {
    let mut watched = Watched::new(BUSY, watcher, write_both);
    for text in ["two", "three", "four"] {
        watched.write("serin.yaml.new", text);
        fs::rename(watched.path("serin.yaml.new"), watched.path("serin.yaml")).unwrap();
    }
    watched.is_told_until_quiet("several").await;
    drop(watched.watch);
    assert_eq!(watched.changed.recv().await, None, "and the watch ends");
}
