//! What the store promises, on good disks and on bad ones.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTableMetadata};
use tempfile::TempDir;

use super::commit::{self, Batch};
use super::faulty::{FaultyDisk, FaultyMedium};
use super::pace::Pace;
use super::renewal::Renewal;
use super::*;
use crate::adapters::store::UnusableStore;
use crate::adapters::store::limits::{
    HISTORY_FLAGS_MAX, JOURNAL_AGE_MAX, JOURNAL_LINES_KEPT, JOURNAL_LINES_MAX, OUTBOX_MESSAGES_MAX,
    RELEASES_MAX, millis,
};
use crate::adapters::store::samples::{busy_point, evidence, line, message, record, transition};
use crate::adapters::store::volatile::MemoryState;
use crate::control::ports::{
    HISTORY_POINTS_MAX, HistoryPoint, JournalLine, JournalQuery, StateError, StateWriter, Subject,
    Transition,
};
use crate::domain::assignment::{AssignmentChange, Membership};
use crate::domain::feedback::{
    Comment, FeedbackChange, FeedbackPart, SavedFeedback, Shown, Tried, Vote,
};
use crate::domain::ids::GroupName;
use crate::domain::rollout::{Freeze, RolloutRecord};
use crate::domain::secret::Secret;
use crate::domain::variant::Variant;
use crate::runtime::clock;

const FILE: &str = "state.redb";

fn open(folder: &Path) -> Opened {
    EmbeddedStore::open(folder).unwrap()
}

/// Opens what is on a disk.
fn open_disk(disk: &FaultyDisk, wait_max: Duration) -> Result<Opened, Fault> {
    let mut medium = FaultyMedium(disk.clone());
    let (database, saved) = medium::open(&mut medium)?;
    let pace = Pace {
        wait_max,
        ..Pace::default()
    };
    Ok(start(Box::new(medium), database, saved, pace).unwrap())
}

/// The same, where the file is written anew so long after a caller was erased.
fn open_renewed_after(disk: &FaultyDisk, renewal_wait: Duration) -> Opened {
    let mut medium = FaultyMedium(disk.clone());
    let (database, saved) = medium::open(&mut medium).unwrap();
    let pace = Pace {
        wait_max: PATIENT,
        stop_wait_max: PATIENT,
        renewal_wait,
        ..Pace::default()
    };
    start(Box::new(medium), database, saved, pace).unwrap()
}

/// More than any disk in memory takes.
const PATIENT: Duration = Duration::from_secs(20);

/// Waits for something to become true, for a bounded time.
fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    let start = clock::monotonic();
    while !look() {
        assert!(start.elapsed() < PATIENT, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

fn freeze() -> Freeze {
    Freeze {
        who: "op".to_owned(),
        why: "fair".to_owned(),
        at_unix_ms: 5,
    }
}

fn all_lines(reader: &dyn StateReader) -> Vec<String> {
    let wanted = JournalQuery {
        limit: usize::MAX,
        ..JournalQuery::default()
    };
    let lines = reader.journal(&wanted).unwrap();
    lines.into_iter().map(|line| line.entry.what).collect()
}

fn texts(outbox: &dyn Outbox) -> Vec<String> {
    let due = outbox.due(u64::MAX, usize::MAX).unwrap();
    let texts = due.into_iter().map(|message| message.draft.notice.what);
    texts.collect()
}

/// Steps of the records, in the order they were written.
fn steps(records: &[RolloutRecord]) -> Vec<u64> {
    records.iter().map(|record| record.state.epoch).collect()
}

#[test]
fn evidence_is_there_again_the_newest_of_each_flag_and_what_is_not_understood_is_left() {
    let folder = TempDir::new().unwrap();
    let mut store = open(folder.path());
    for (flag, attempt) in [("orders", 1), ("cart", 1), ("orders", 2)] {
        store.writer.keep_evidence(evidence(flag, attempt));
    }
    store.writer.save(&transition("orders", "1", 1)).unwrap();
    drop(store);
    let store = open(folder.path());
    let kept = [evidence("cart", 1), evidence("orders", 2)];
    assert_eq!(store.saved.evidence, kept);
    drop(store);

    let database = redb::Database::open(folder.path().join(FILE)).unwrap();
    let transaction = schema::begin(&database).unwrap();
    let other = br#"{"of": "another version"}"#.as_slice();
    let mut table = transaction.open_table(schema::EVIDENCE).unwrap();
    table.insert("cart", other).unwrap();
    drop(table);
    transaction.commit().unwrap();
    drop(database);
    let store = open(folder.path());
    assert_eq!(store.saved.evidence, [evidence("orders", 2)]);
    assert_eq!(steps(&store.saved.records), [1]);
}

#[test]
fn of_too_much_evidence_that_is_forgotten_first_whose_rollout_is_gone() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()));
    let database = redb::Database::open(folder.path().join(FILE)).unwrap();
    let write = |flags: &[String]| {
        let known: Vec<_> = flags.iter().map(|flag| evidence(flag, 1)).collect();
        let points = commit::Points {
            evidence: &known,
            ..commit::Points::default()
        };
        commit::seal(&database, points).unwrap();
    };
    // All but two have a record; the first in the alphabet moved longest ago, the last is the newest.
    let many: Vec<_> = (0..HISTORY_FLAGS_MAX).map(|n| format!("f{n:03}")).collect();
    let records = many
        .iter()
        .filter(|flag| !["f100", "f200"].contains(&flag.as_str()));
    let batch = Batch {
        records: records.map(|flag| record(flag, "1", 1)).collect(),
        ..Batch::default()
    };
    commit::write(&database, &batch, 0).unwrap();
    write(&many);
    let kept = || -> Vec<String> {
        let transaction = database.begin_read().unwrap();
        let saved = schema::read_through(&transaction).unwrap();
        saved
            .evidence
            .into_iter()
            .map(|known| known.flag.to_string())
            .collect()
    };
    assert_eq!(kept(), many);
    let new = [
        "a".to_owned(),
        "b".to_owned(),
        "f000".to_owned(),
        "z".to_owned(),
    ];
    write(&new);
    let kept = kept();
    assert_eq!(kept.len(), HISTORY_FLAGS_MAX);
    assert!(new.iter().all(|flag| kept.contains(flag)), "just written");
    let mut gone = many.iter().filter(|flag| !kept.contains(flag));
    assert!(
        gone.by_ref().eq(["f001", "f100", "f200"].iter()),
        "{gone:?}"
    );
}

#[test]
fn evidence_that_a_disk_refused_is_written_when_it_works_again() {
    let disk = FaultyDisk::new();
    let mut store = open_disk(&disk, PATIENT).unwrap();
    store.writer.save(&transition("orders", "1", 1)).unwrap();
    disk.state().fails_after = Some(0);
    store.writer.keep_evidence(evidence("orders", 1));
    let _ = store.writer.save(&transition("orders", "1", 2));
    disk.state().fails_after = None;
    wait_until("it can be written to", || {
        store.writer.save(&transition("orders", "1", 3)).is_ok()
    });
    drop(store);
    let store = open_disk(&disk, PATIENT).unwrap();
    assert_eq!(store.saved.evidence, [evidence("orders", 1)]);
}

#[test]
fn what_was_saved_is_there_when_it_is_opened_again() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("made/on/the/way");
    let mut store = open(&place);
    assert_eq!(store.saved, SavedState::default());
    store.writer.save(&transition("orders", "1", 1)).unwrap();
    store.writer.save(&transition("cart", "1", 2)).unwrap();
    store.writer.save(&transition("orders", "1", 3)).unwrap();
    let frozen = Transition {
        freeze: Some(Some(freeze())),
        ..Transition::default()
    };
    store.writer.save(&frozen).unwrap();
    store.writer.keep(vec![busy_point("orders", 1_000, 100)]);
    drop(store);

    let mut store = open(&place);
    assert_eq!(steps(&store.saved.records), [2, 3]);
    assert_eq!(store.saved.records[1], record("orders", "1", 3));
    assert_eq!(store.saved.freeze, Some(freeze()));
    assert_eq!(
        all_lines(&*store.reader),
        ["orders 1 3", "cart 1 2", "orders 1 1"]
    );
    assert_eq!(
        texts(&*store.outbox),
        ["orders 1 1", "cart 1 2", "orders 1 3"]
    );
    let flag = "orders".parse().unwrap();
    assert_eq!(store.reader.history(&flag, 0, u64::MAX).unwrap().len(), 1);

    store.writer.save(&transition("orders", "1", 4)).unwrap();
    let lifted = Transition {
        freeze: Some(None),
        ..Transition::default()
    };
    store.writer.save(&lifted).unwrap();
    let newest = JournalQuery {
        limit: 1,
        ..JournalQuery::default()
    };
    assert_eq!(store.reader.journal(&newest).unwrap()[0].sequence, 4);
    assert_eq!(store.outbox.due(0, 9).unwrap()[3].id, 4);
    assert!(store.reader.health().file_bytes > 0);
    drop(store);
    assert_eq!(open(&place).saved.freeze, None);
}

#[test]
fn the_journal_is_read_by_flag_time_and_page() {
    let folder = TempDir::new().unwrap();
    let stores: [(Box<dyn StateWriter>, Arc<dyn StateReader>); 2] = {
        let embedded = open(folder.path());
        let memory = MemoryState::default();
        [
            (embedded.writer, embedded.reader),
            (Box::new(memory.clone()), Arc::new(memory)),
        ]
    };
    for (mut writer, reader) in stores {
        let lines = (1..=6).map(|at| line(["orders", "cart"][at % 2], at as u64, &at.to_string()));
        let transition = Transition {
            lines: lines.collect(),
            ..Transition::default()
        };
        writer.save(&transition).unwrap();
        let read = |flag: Option<&str>, before, since_unix_ms, limit| {
            let wanted = JournalQuery {
                subject: flag.map(|flag| Subject::Flag(flag.parse().unwrap())),
                before,
                since_unix_ms,
                limit,
                ..JournalQuery::default()
            };
            let lines = reader.journal(&wanted).unwrap();
            lines
                .into_iter()
                .map(|line| line.sequence)
                .collect::<Vec<_>>()
        };
        assert_eq!(read(None, None, None, 2), [6, 5]);
        assert_eq!(read(None, Some(5), None, 2), [4, 3]);
        assert_eq!(read(Some("orders"), None, None, 9), [6, 4, 2]);
        assert_eq!(read(Some("orders"), Some(6), Some(3), 9), [4]);
        assert_eq!(read(Some("other"), None, None, 9), [0; 0]);
        let new = |after, before| {
            let wanted = JournalQuery {
                after: Some(after),
                before,
                limit: 9,
                ..JournalQuery::default()
            };
            let lines = reader.journal(&wanted).unwrap();
            lines.iter().map(|line| line.sequence).collect::<Vec<_>>()
        };
        assert_eq!(new(4, None), [6, 5]);
        assert_eq!(new(3, Some(5)), [4]);
        assert_eq!(new(5, Some(3)), [0; 0]);
        assert_eq!(new(6, None), [0; 0]);
        assert_eq!(new(u64::MAX, None), [0; 0]);
    }
}

#[test]
fn a_folder_belongs_to_one_store_at_a_time() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return another_process_finds_it_taken(Path::new(&folder));
    }
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let error = EmbeddedStore::open(folder.path()).unwrap_err();
    let expected = OpenError::Locked {
        path: folder.path().to_owned(),
        process: Some(std::process::id()),
    };
    assert_eq!(error, expected);
    let said = error.to_string();
    assert!(
        said.contains(&folder.path().display().to_string()),
        "{said}"
    );

    let mut child = child("a_folder_belongs_to_one_store_at_a_time", folder.path());
    let child = child.output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}"
    );
    drop(store);
    open(folder.path());
}

/// Tells a test that it is run by itself in a process of its own, and where.
const CHILD: &str = "SERIN_TEST_STATE";

/// One of these very tests, in a process of its own.
fn child(test: &str, folder: &Path) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "--nocapture"]);
    child.arg(format!("adapters::store::embedded::tests::{test}"));
    child.env(CHILD, folder);
    child
}

fn another_process_finds_it_taken(folder: &Path) {
    let error = EmbeddedStore::open(folder).unwrap_err();
    let OpenError::Locked { process, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(process, Some(std::os::unix::process::parent_id()));
}

/// Saves one step after the other, and says so, until it is killed.
/// Saves as the control plane does: a disk that is slow for a moment is asked again.
fn save_at_last(writer: &mut dyn StateWriter, transition: &Transition) {
    wait_until("the disk answers in time", || {
        writer.save(transition).is_ok()
    });
}

fn save_for_ever(folder: &Path) {
    let mut store = open(folder);
    let last = store.saved.records.last();
    let first = last.map_or(0, |record| record.state.epoch) + 1;
    for step in first.. {
        store.writer.keep(vec![busy_point("orders", step, 600)]);
        let transition = transition("orders", &(step % 5).to_string(), step);
        save_at_last(store.writer.as_mut(), &transition);
        println!("safe {step}");
    }
}

#[test]
fn a_process_killed_at_any_moment_leaves_what_it_said_to_be_safe() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return save_for_ever(Path::new(&folder));
    }
    let folder = TempDir::new().unwrap();
    let mut safe = 0;
    for round in 0..30 {
        let test = "a_process_killed_at_any_moment_leaves_what_it_said_to_be_safe";
        let mut child = child(test, folder.path());
        let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || said.next().map(Result::unwrap);
        let step = |line: String| line.rsplit_once("safe ")?.1.parse().ok();
        let mut seen = 0;
        while seen < round {
            if let Some(step) = step(next().unwrap()) {
                (safe, seen) = (step, seen + 1);
            }
        }
        // Somewhere in the next save or two.
        for _ in 0..round * 10_000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(line) = next() {
            safe = step(line).unwrap_or(safe);
        }
        let store = open(folder.path());
        let last = store.saved.records.last();
        let last = last.map_or(0, |record| record.state.epoch);
        assert!(last == safe || last == safe + 1, "{last}, not {safe}");
        safe = last;
    }
}

/// The error of opening a folder whose file has these bytes, or what it finds there.
fn found_in(bytes: &[u8]) -> Result<SavedState, OpenError> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(FILE), bytes).unwrap();
    let opened = EmbeddedStore::open(folder.path());
    if let Err(OpenError::Unusable { path, .. }) = &opened {
        assert_eq!(*path, folder.path().join(FILE));
        assert_eq!(
            fs::read(path).unwrap().len(),
            bytes.len(),
            "it is left as it is"
        );
    }
    opened.map(|opened| opened.saved.clone())
}

/// How many seals a file has; none while it is being written.
fn seals(bytes: &[u8]) -> Option<u64> {
    let disk = FaultyDisk::with_bytes(bytes.to_vec());
    let (database, _) = medium::open(&mut FaultyMedium(disk)).ok()?;
    let meta = database.begin_read().ok()?.open_table(schema::META).ok()?;
    Some(meta.get(schema::META_SEAL).ok()??.value())
}

/// The file of a store with a few transitions, as a `kill -9` leaves it, and what is in it.
fn good_file() -> (Vec<u8>, SavedState) {
    let folder = TempDir::new().unwrap();
    let mut store = open(folder.path());
    for step in 0..20 {
        save_at_last(store.writer.as_mut(), &transition("orders", "1", step));
        let writer = store.writer.as_mut();
        save_at_last(writer, &transition("cart", "1", 100 + step));
        writer.keep(vec![busy_point("orders", step * 10_000, 600)]);
    }
    let mut bytes = Vec::new();
    wait_until("the last save is sealed", || {
        bytes = fs::read(folder.path().join(FILE)).unwrap();
        seals(&bytes) == Some(40)
    });
    let saved = found_in(&bytes).unwrap();
    assert_eq!(steps(&saved.records), [19, 119]);
    (bytes, saved)
}

#[test]
fn a_file_that_is_no_state_is_refused_and_left_alone() {
    for bytes in [&b""[..], b"x", b"not a database", &[0; 100_000]] {
        let error = found_in(bytes).unwrap_err();
        assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(FILE);
    drop(redb::Database::create(&path).unwrap());
    let error = EmbeddedStore::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("not one of Serin's"), "{error}");

    fs::remove_file(&path).unwrap();
    drop(open(folder.path()));
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(schema::META)
        .unwrap()
        .insert(schema::META_FORMAT, 2)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = EmbeddedStore::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("its format is 2"), "{error}");

    let error = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
}

#[test]
fn a_file_cut_off_anywhere_is_refused_or_whole() {
    let (bytes, saved) = good_file();
    let mut refused = 0;
    for cut in 0..100 {
        let kept = &bytes[..bytes.len() * cut / 100];
        match found_in(kept) {
            Ok(found) => assert_eq!(found, saved, "cut to {} bytes", kept.len()),
            Err(OpenError::Unusable { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 50, "{refused} were refused");
}

#[test]
fn a_file_damaged_anywhere_is_refused_or_whole() {
    let (bytes, saved) = good_file();
    // Each byte of the header, with its slots and the bit that says which one counts; and one in
    // some hundreds of the rest.
    let header = (0..320).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)));
    let rest = (320..bytes.len()).step_by(467).map(|at| (at, 0x10));
    let mut refused = 0;
    for (at, bits) in header.chain(rest) {
        let mut damaged = bytes.clone();
        damaged[at] ^= bits;
        let disk = FaultyDisk::with_bytes(damaged);
        match medium::open(&mut FaultyMedium(disk)) {
            Ok((_, found)) => assert_eq!(found, saved, "{bits:#x} at {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 50, "{refused} were refused");
}

#[test]
fn a_hanging_disk_delays_nobody_and_finds_the_last_decision() {
    let disk = FaultyDisk::new();
    let mut store = open_disk(&disk, Duration::from_millis(20)).unwrap();
    disk.state().hangs = true;
    let started = clock::monotonic();
    for step in 0..5 {
        let error = store
            .writer
            .save(&transition("orders", "1", step))
            .unwrap_err();
        assert!(error.reason.contains("has not answered"), "{error}");
        // Asked for again while it waits, it waits once.
        store
            .writer
            .save(&transition("orders", "1", step))
            .unwrap_err();
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(store.reader.health().problem.is_some());
    assert_eq!(store.reader.health().failed_writes, 10);
    assert_eq!(all_lines(&*store.reader), [""; 0]);
    disk.wake();
    wait_until("all is written", || all_lines(&*store.reader).len() == 5);
    assert_eq!(store.reader.health().problem, None);
    drop(store);
    let store = open_disk(&disk, PATIENT).unwrap();
    assert_eq!(steps(&store.saved.records), [4]);
    assert_eq!(texts(&*store.outbox).len(), 5);
}

#[test]
fn a_slow_write_that_is_asked_for_again_is_written_once() {
    let disk = FaultyDisk::new();
    let mut store = open_disk(&disk, Duration::from_millis(1)).unwrap();
    disk.state().hangs = true;
    let wanted = transition("orders", "1", 1);
    store.writer.save(&wanted).unwrap_err();
    disk.wake();
    wait_until("it is written", || all_lines(&*store.reader).len() == 1);
    wait_until("that is told", || store.writer.save(&wanted).is_ok());
    assert_eq!(all_lines(&*store.reader).len(), 1);
    assert_eq!(texts(&*store.outbox).len(), 1);
}

#[test]
fn points_are_written_without_an_occasion_as_well() {
    let disk = FaultyDisk::new();
    let mut medium = FaultyMedium(disk.clone());
    let (database, saved) = medium::open(&mut medium).unwrap();
    let pace = Pace {
        points_wait_max: Duration::from_millis(5),
        ..Pace::default()
    };
    let mut store = start(Box::new(medium), database, saved, pace).unwrap();
    store.writer.keep(vec![busy_point("orders", 1_000, 100)]);
    wait_until("the point is in the file", || {
        let copy = FaultyDisk::with_bytes(disk.bytes());
        let opened = medium::open(&mut FaultyMedium(copy));
        opened.is_ok_and(|(database, _)| points_by_grade(&database, "orders")[0] == 1)
    });
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let disk = FaultyDisk::new();
    let mut store = open_disk(&disk, Duration::from_millis(1)).unwrap();
    disk.state().hangs = true;
    store
        .writer
        .save(&transition("orders", "1", 1))
        .unwrap_err();
    let started = clock::monotonic();
    drop(store.writer);
    assert!(started.elapsed() < Duration::from_secs(10));
    disk.wake();
}

#[test]
fn a_disk_that_failed_once_is_opened_anew() {
    let disk = FaultyDisk::new();
    let mut store = open_disk(&disk, PATIENT).unwrap();
    store.writer.save(&transition("orders", "1", 1)).unwrap();
    for at in 0..12 {
        {
            let mut state = disk.state();
            (state.fails_after, state.fails_for) = (Some(at), Some(1));
        }
        let saved = store.writer.save(&transition("orders", "1", 2));
        // A second failure right after the first is told; then it is asked for again.
        if saved.is_err() {
            assert!(store.reader.health().problem.is_some());
            store.writer.save(&transition("orders", "1", 2)).unwrap();
        }
        assert_eq!(store.reader.health().problem, None);
        assert!(!all_lines(&*store.reader).is_empty(), "it can be read");
    }
}

#[test]
fn a_dead_disk_is_told_and_what_was_written_can_be_read_once_it_lives() {
    let disk = FaultyDisk::new();
    let mut store = open_disk(&disk, PATIENT).unwrap();
    store.writer.save(&transition("orders", "1", 1)).unwrap();
    disk.state().fails_after = Some(0);
    let error = store
        .writer
        .save(&transition("orders", "1", 2))
        .unwrap_err();
    assert!(
        error.reason.starts_with("the state file `disk`: "),
        "{error}"
    );
    store.outbox.settle(1);
    let health = store.reader.health();
    assert_eq!(health.problem, Some(error.reason));
    assert!(health.failed_writes >= 1);
    disk.state().fails_after = None;
    store.writer.save(&transition("orders", "1", 2)).unwrap();
    assert_eq!(store.reader.health().problem, None);
    assert_eq!(all_lines(&*store.reader), ["orders 1 2", "orders 1 1"]);
    assert_eq!(texts(&*store.outbox), ["orders 1 2"], "it stays settled");
}

#[test]
fn a_rollback_is_written_on_a_full_disk() {
    let disk = FaultyDisk::new();
    disk.state().room_blocks = Some(300);
    let mut store = open_disk(&disk, PATIENT).unwrap();
    let mut step = 0;
    let long = "x".repeat(20_000);
    // Lines fill the disk, until only the reserve is left.
    while store.reader.health().problem.is_none() {
        step += 1;
        let mut transition = transition("orders", "1", step);
        transition.lines.push(line("orders", step, &long));
        store.writer.save(&transition).unwrap();
        assert!(step < 1_000, "the disk never fills");
    }
    let problem = store.reader.health().problem.unwrap();
    assert!(problem.contains("the disk is full"), "{problem}");
    assert_eq!(all_lines(&*store.reader)[1], format!("orders 1 {step}"));
    store
        .writer
        .save(&transition("orders", "1", step + 1))
        .unwrap();
    drop(store);

    disk.state().room_blocks = None;
    let store = open_disk(&disk, PATIENT).unwrap();
    assert_eq!(steps(&store.saved.records), [step + 1]);
    assert_eq!(store.reader.health().problem, None);
}

#[test]
fn tables_are_bounded() {
    let disk = FaultyDisk::new();
    let (database, _) = medium::open(&mut FaultyMedium(disk.clone())).unwrap();
    let now_unix_ms = millis(clock::wall());
    let mut batch = Batch::default();
    for number in 0..RELEASES_MAX + 3 {
        batch.records.push(record("orders", &number.to_string(), 0));
        batch
            .records
            .push(record("orders-next", "1", number as u64));
    }
    for number in 0..JOURNAL_LINES_MAX as u64 + 10 {
        batch
            .lines
            .push_back(line("orders", now_unix_ms + number, "x"));
    }
    for _ in 0..OUTBOX_MESSAGES_MAX + 4 {
        batch.messages.push_back((0, message("x")));
    }
    assert_eq!(commit::write(&database, &batch, now_unix_ms).unwrap(), 4);
    drop(database);

    let mut store = open_disk(&disk, PATIENT).unwrap();
    assert_eq!(store.saved.records.len(), RELEASES_MAX + 1);
    let of_orders = store
        .saved
        .records
        .iter()
        .filter(|r| r.flag.as_str() == "orders");
    let revisions: Vec<_> = of_orders.map(|record| &*record.release.revision).collect();
    assert_eq!((revisions[0], *revisions.last().unwrap()), ("3", "66"));
    assert_eq!(all_lines(&*store.reader).len(), JOURNAL_LINES_MAX);
    assert_eq!(store.outbox.due(0, 1).unwrap()[0].id, 5);
    // An old release becomes the newest when it is written again.
    store.writer.save(&transition("orders", "3", 9)).unwrap();
    store.writer.save(&transition("orders", "new", 10)).unwrap();
    drop(store);
    let (_, saved) = medium::open(&mut FaultyMedium(disk)).unwrap();
    assert!(
        saved
            .records
            .iter()
            .any(|record| record.release.revision == "3")
    );
    assert!(
        saved
            .records
            .iter()
            .all(|record| record.release.revision != "4")
    );
}

#[test]
fn old_lines_are_forgotten_but_for_the_last() {
    let (database, _) = medium::open(&mut FaultyMedium(FaultyDisk::new())).unwrap();
    let write = |moments: std::ops::Range<u64>, now_unix_ms| {
        let lines = moments.map(|at| line("orders", at, "x"));
        let batch = Batch {
            lines: lines.collect(),
            ..Batch::default()
        };
        commit::write(&database, &batch, now_unix_ms).unwrap();
        let transaction = database.begin_read().unwrap();
        let journal = transaction.open_table(schema::JOURNAL).unwrap();
        journal.len().unwrap()
    };
    assert_eq!(write(1_000..2_000, 2_000), 1_000);
    let quarter = millis(JOURNAL_AGE_MAX);
    assert_eq!(write(2_000..2_001, quarter + 1_400), 601);
    // A clock that leaps a century ahead takes all but the last.
    assert_eq!(
        write(2_001..2_002, quarter * 400),
        JOURNAL_LINES_KEPT as u64
    );
}

#[test]
fn messages_are_delivered_in_order_put_off_and_forgotten() {
    let folder = TempDir::new().unwrap();
    let embedded = open(folder.path());
    let memory = MemoryState::default();
    let unusable = UnusableStore::new("no disk".to_owned());
    let stores: [(Box<dyn StateWriter>, Arc<dyn Outbox>); 3] = [
        (embedded.writer, embedded.outbox),
        (Box::new(memory.clone()), Arc::new(memory)),
        (Box::new(unusable.clone()), Arc::new(unusable)),
    ];
    for (mut writer, outbox) in stores {
        let transition = Transition {
            messages: ["a", "b", "c"].map(message).to_vec(),
            ..Transition::default()
        };
        let _ = writer.save(&transition);
        assert_eq!(outbox.due(0, 2).unwrap().len(), 2);
        outbox.put_off(1, 500);
        outbox.put_off(1, 1_000);
        outbox.settle(2);
        let ids = |now_unix_ms| {
            let due = outbox.due(now_unix_ms, 9).unwrap();
            due.iter().map(|message| message.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(999), [3]);
        assert_eq!(ids(1_000), [1, 3]);
        let _ = writer.save(&Transition::default());
        let due = outbox.due(1_000, 9).unwrap();
        assert_eq!((due[0].attempts, due.len()), (2, 2));
        drop(writer);
    }
    let store = open(folder.path());
    assert_eq!(texts(&*store.outbox), ["a", "c"]);
    assert_eq!(
        store.outbox.due(999, 9).unwrap().len(),
        1,
        "it stays put off"
    );
}

#[test]
fn a_store_that_cannot_be_used_says_so_and_remembers_what_happened() {
    let mut store = UnusableStore::new("the disk is gone".to_owned());
    for _ in 0..3 {
        let error = store.save(&transition("orders", "1", 1)).unwrap_err();
        assert_eq!(error.reason, "the disk is gone");
    }
    store.save(&transition("orders", "1", 2)).unwrap_err();
    assert_eq!(all_lines(&store), ["orders 1 2", "orders 1 1"], "each once");
    let health = store.health();
    assert_eq!(health.problem.as_deref(), Some("the disk is gone"));
    assert_eq!(health.failed_writes, 4);
}

/// A file system of its own, of a few MiB.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(mib: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let size = format!("size={mib}m");
        mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], folder.path());
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that is left.
    fn fill(&self, name: &str) {
        let mut file = fs::File::create(self.path().join(name)).unwrap();
        while io::Write::write_all(&mut file, &[7; 4096]).is_ok() {}
    }
}

fn mount(arguments: &[&str], at: &Path) {
    let done = Command::new("mount")
        .args(arguments)
        .arg(at)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "this test must be allowed to mount a tmpfs (root, or CAP_SYS_ADMIN): {said}"
    );
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

#[test]
fn a_real_disk_that_is_full_still_takes_a_rollback_and_recovers() {
    let disk = SmallDisk::new(8);
    let mut store = open(disk.path());
    store.writer.save(&transition("orders", "1", 1)).unwrap();
    disk.fill("ballast");
    let long = "x".repeat(100_000);
    let mut step = 1;
    while store.reader.health().problem.is_none() {
        step += 1;
        let mut transition = transition("orders", "1", step);
        transition.lines.push(line("orders", step, &long));
        store.writer.save(&transition).unwrap();
        assert!(step < 100, "the disk never fills");
    }
    // Somebody else takes the rest as well: then it is refused, and told.
    disk.fill("more");
    let failed = (0..100).find_map(|_| {
        let mut transition = transition("orders", "1", 1_000);
        transition.lines.push(line("orders", step, &long));
        let failed = store.writer.save(&transition).err();
        // A machine that is busy otherwise may take its time before the disk says so.
        failed.filter(|it| !it.reason.contains("has not answered"))
    });
    let StateError { reason } = failed.expect("a full disk is told");
    assert!(reason.contains("No space left"), "{reason}");
    assert!(!all_lines(&*store.reader).is_empty(), "it can be read");

    // A start finds the last state on a full disk as well, and says that it is full.
    let before = all_lines(&*store.reader);
    drop(store);
    let mut store = open(disk.path());
    assert_eq!(all_lines(&*store.reader), before);
    let problem = store.reader.health().problem.unwrap();
    assert!(problem.contains("the disk is full"), "{problem}");

    fs::remove_file(disk.path().join("ballast")).unwrap();
    store
        .writer
        .save(&transition("orders", "1", 2_000))
        .unwrap();
    drop(store);
    fs::remove_file(disk.path().join("more")).unwrap();
    let store = open(disk.path());
    assert_eq!(steps(&store.saved.records), [2_000]);
    assert_eq!(store.reader.health().problem, None);
    assert_eq!(
        fs::metadata(disk.path().join("state.reserve"))
            .unwrap()
            .len(),
        4 << 20
    );
}

#[test]
fn a_read_only_folder_is_refused() {
    let disk = SmallDisk::new(8);
    drop(open(disk.path()));
    mount(&["-o", "remount,ro"], disk.path());
    let error = EmbeddedStore::open(disk.path()).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
    assert!(
        error.to_string().contains("Read-only file system"),
        "{error}"
    );
    let error = EmbeddedStore::open(&disk.path().join("new")).unwrap_err();
    assert!(
        error.to_string().contains("Read-only file system"),
        "{error}"
    );
}

#[test]
fn a_file_that_was_moved_away_is_told() {
    let folder = TempDir::new().unwrap();
    let mut store = open(folder.path());
    let path = folder.path().join(FILE);
    fs::rename(&path, folder.path().join("away")).unwrap();
    let error = store
        .writer
        .save(&transition("orders", "1", 1))
        .unwrap_err();
    assert!(error.reason.contains("state.redb"), "{error}");
    fs::rename(folder.path().join("away"), &path).unwrap();
    store.writer.save(&transition("orders", "1", 1)).unwrap();
}

/// What is done to a store in a random run.
#[derive(Clone, Debug)]
enum Act {
    Save {
        flag: bool,
        release: u8,
    },
    Points,
    Fail {
        after: u32,
        times: Option<u32>,
    },
    Heal,
    /// A `kill -9`: the file stays as it is.
    Kill,
    /// A power cut: of what was not synced, only some is there.
    PowerCut {
        kept: u64,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (any::<bool>(), 0..3_u8).prop_map(|(flag, release)| Act::Save { flag, release }),
        1 => Just(Act::Points),
        2 => (0..40_u32, prop::option::of(1..4_u32))
            .prop_map(|(after, times)| Act::Fail { after, times }),
        1 => Just(Act::Heal),
        1 => Just(Act::Kill),
        2 => any::<u64>().prop_map(|kept| Act::PowerCut { kept }),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Each save writes a larger step. Whatever the disk does, what is found has at least the
    /// step of the last save that was said to be safe, and none that was never asked for.
    #[test]
    fn what_was_said_to_be_safe_is_never_lost(acts in acts()) {
        let mut disk = FaultyDisk::new();
        let mut store = open_disk(&disk, PATIENT).unwrap();
        let mut safe = 0;
        let mut asked = 0;
        for act in acts {
            let image = match act {
                Act::Save { flag, release } => {
                    asked += 1;
                    let flag = if flag { "orders" } else { "cart" };
                    let wanted = transition(flag, &release.to_string(), asked);
                    if store.writer.save(&wanted).is_ok() {
                        safe = asked;
                    }
                    continue;
                }
                Act::Points => {
                    store.writer.keep(vec![busy_point("orders", asked * 7_000, 50)]);
                    continue;
                }
                Act::Fail { after, times } => {
                    let mut state = disk.state();
                    (state.fails_after, state.fails_for) = (Some(after), times);
                    continue;
                }
                Act::Heal => {
                    let mut state = disk.state();
                    (state.fails_after, state.fails_for) = (None, None);
                    continue;
                }
                Act::Kill => disk.bytes(),
                Act::PowerCut { kept } => {
                    let mut bits = kept | 1;
                    disk.after_power_cut(|| {
                        bits ^= bits << 13;
                        bits ^= bits >> 7;
                        bits ^= bits << 17;
                        bits & 1 == 1
                    })
                }
            };
            disk.state().fails_after = Some(0);
            drop(store);
            disk = FaultyDisk::with_bytes(image);
            store = open_disk(&disk, PATIENT).unwrap();
            let last = store.saved.records.last().map_or(0, |record| record.state.epoch);
            prop_assert!((safe..=asked).contains(&last), "{safe}..={asked}: {last}");
            let lines = all_lines(&*store.reader);
            if let Some(record) = store.saved.records.last() {
                let expected = format!("{} {} {last}", record.flag, record.release.revision);
                prop_assert_eq!(&lines[0], &expected, "the line came with the record");
                let told = texts(&*store.outbox);
                prop_assert_eq!(told.last(), Some(&expected));
            }
            safe = last;
            asked = asked.max(last);
        }
    }
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Some moment after 1970.
const BEGIN_MS: u64 = 20_000 * DAY_MS;

/// Writes points of some flags, every so often from one moment to another, in batches of six.
fn write_history(
    database: &redb::Database,
    flags: &[&str],
    (from_unix_ms, to_unix_ms): (u64, u64),
    every_ms: u64,
) {
    let step = usize::try_from(every_ms).unwrap();
    let moments: Vec<u64> = (from_unix_ms..to_unix_ms).step_by(step).collect();
    for moments in moments.chunks(6) {
        let of_flag = |flag: &&str| {
            let flag = (*flag).to_owned();
            moments.iter().map(move |at| busy_point(&flag, *at, 600))
        };
        let points: Vec<_> = flags.iter().flat_map(of_flag).collect();
        let points = commit::Points {
            new: &points,
            ..commit::Points::default()
        };
        commit::seal(database, points).unwrap();
    }
}

fn read_history(
    database: &redb::Database,
    flag: &str,
    (from_unix_ms, to_unix_ms): (u64, u64),
) -> Vec<HistoryPoint> {
    let flag = flag.parse().unwrap();
    let transaction = database.begin_read().unwrap();
    history::read(&transaction, &flag, (from_unix_ms, to_unix_ms), Vec::new()).unwrap()
}

/// How many points of a flag there are of each grade.
fn points_by_grade(database: &redb::Database, flag: &str) -> [usize; 3] {
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(schema::HISTORY).unwrap();
    [0, 1, 2].map(|grade| {
        let of_grade = (flag, grade, 0)..=(flag, grade, u64::MAX);
        table.range(of_grade).unwrap().count()
    })
}

#[test]
fn history_grows_coarser_and_loses_nothing_until_it_is_forgotten() {
    let disk = FaultyDisk::new();
    let (database, _) = medium::open(&mut FaultyMedium(disk)).unwrap();
    // A day of minutes, then twelve hours of tens of seconds.
    let (morning, evening) = (BEGIN_MS + DAY_MS, BEGIN_MS + DAY_MS + DAY_MS / 2);
    write_history(&database, &["orders"], (BEGIN_MS, morning), 60_000);
    write_history(&database, &["orders"], (morning, evening), 10_000);
    let [fine, minutes, coarse] = points_by_grade(&database, "orders");
    assert!((2_160..2_170).contains(&fine), "{fine}");
    assert!((30 * 60 - 2..=30 * 60 + 2).contains(&minutes), "{minutes}");
    assert_eq!(coarse, 0);
    let all = read_history(&database, "orders", (0, u64::MAX));
    assert!(
        all.len() <= HISTORY_POINTS_MAX && all.len() > 1_000,
        "{}",
        all.len()
    );
    assert!(all.is_sorted_by_key(|point| point.at_unix_ms));
    let requests: u64 = all.iter().map(|point| point.counts.requests().stable).sum();
    assert_eq!(requests, (24 * 60 + 12 * 360) * 570);
    let hour = read_history(&database, "orders", (evening - HOUR_MS, evening));
    assert_eq!(hour.len(), 360, "the last hours are as fine as they were");

    // A week later there are minutes no more, and a quarter later nothing is left of it.
    let week = evening + 8 * DAY_MS;
    for _ in 0..5 {
        write_history(&database, &["orders"], (week, week + 1), 1);
    }
    assert_eq!(points_by_grade(&database, "orders"), [1, 0, 36 * 6 + 1]);
    let sum = |points: Vec<HistoryPoint>| -> u64 {
        points
            .iter()
            .map(|point| point.counts.requests().stable)
            .sum()
    };
    let since = read_history(&database, "orders", (0, week));
    assert_eq!(sum(since), (24 * 60 + 12 * 360) * 570);
    let quarter = evening + 100 * DAY_MS;
    write_history(&database, &["orders"], (quarter, quarter + 1), 1);
    assert_eq!(points_by_grade(&database, "orders"), [1, 0, 0]);
}

#[test]
fn points_of_different_stages_stay_apart_and_silence_is_no_point() {
    let folder = TempDir::new().unwrap();
    let embedded = open(folder.path());
    let memory = MemoryState::default();
    let stores: [(Box<dyn StateWriter>, Arc<dyn StateReader>); 2] = [
        (embedded.writer, embedded.reader),
        (Box::new(memory.clone()), Arc::new(memory)),
    ];
    for (mut writer, reader) in stores {
        for second in 1..=30_u64 {
            let mut point = busy_point("orders", BEGIN_MS + second * 1_000, 100);
            point.stage = usize::from(second > 15);
            if second > 20 {
                point.counts = Default::default();
            }
            writer.keep(vec![point]);
            if second % 4 == 0 {
                writer.save(&Transition::default()).unwrap();
            }
        }
        let flag = "orders".parse().unwrap();
        let points = reader.history(&flag, BEGIN_MS, BEGIN_MS + DAY_MS).unwrap();
        let shape = points.iter().map(|point| {
            let seconds = (point.at_unix_ms - BEGIN_MS) / 1_000;
            (seconds, point.stage, point.counts.requests().stable)
        });
        let shape: Vec<_> = shape.collect();
        assert_eq!(shape, [(10, 0, 950), (15, 0, 475), (20, 1, 475)]);
        let before = reader.history(&flag, BEGIN_MS, BEGIN_MS + 15_000).unwrap();
        assert_eq!(before.len(), 1, "the last moment is not in the window");
    }
}

#[test]
fn a_clock_that_leaps_about_fills_no_disk() {
    let disk = FaultyDisk::new();
    let (database, _) = medium::open(&mut FaultyMedium(disk)).unwrap();
    let later = BEGIN_MS + 1_000 * DAY_MS;
    write_history(
        &database,
        &["orders"],
        (later, later + 13 * HOUR_MS),
        10_000,
    );
    // Those lie in the future now, where nothing grows old.
    let ahead = points_by_grade(&database, "orders").iter().sum::<usize>();
    write_history(
        &database,
        &["orders"],
        (BEGIN_MS, BEGIN_MS + 12 * HOUR_MS),
        10_000,
    );
    assert!(points_by_grade(&database, "orders").iter().sum::<usize>() > ahead + 2_000);
    let transaction = schema::begin(&database).unwrap();
    for _ in 0..5 {
        let mut table = transaction.open_table(schema::HISTORY).unwrap();
        history::check_bounds(&mut table, BEGIN_MS).unwrap();
    }
    transaction.commit().unwrap();
    assert!(points_by_grade(&database, "orders")[0] <= 2 * 2_160);
}

#[test]
fn callers_are_in_their_groups_again_by_what_was_said_last() {
    let change = |group: &str, key: &str, seconds: Option<u64>| {
        let span = seconds.map(Duration::from_secs);
        AssignmentChange {
            group: group.parse().unwrap(),
            key: key.into(),
            membership: Some(Membership::lasting(span, 1_000)),
        }
    };
    let out = |group: &str, key: &str| AssignmentChange {
        membership: None,
        ..change(group, key, None)
    };
    let folder = TempDir::new().unwrap();
    let mut memory = MemoryState::default();
    let mut store = open(folder.path());
    assert_eq!(store.saved.assignments, memory.saved().assignments);
    for changes in [
        vec![change("beta", "ann", None), change("vip", "ann", Some(9))],
        vec![change("beta", "ann", Some(60)), change("beta", "bob", None)],
        vec![out("beta", "bob"), out("beta", "nobody")],
    ] {
        let transition = Transition {
            assignments: changes,
            ..Transition::default()
        };
        store.writer.save(&transition).unwrap();
        memory.save(&transition).unwrap();
    }
    drop(store);
    let store = open(folder.path());
    let there = store.saved.assignments.iter();
    let there: Vec<_> = there
        .map(|((group, key), membership)| (group.as_str(), &**key, membership.left(1_000)))
        .collect();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let expected = [("beta", "ann", seconds(60)), ("vip", "ann", seconds(9))];
    assert_eq!(there, expected);
    assert_eq!(store.saved.assignments, memory.saved().assignments);
}

#[test]
fn lines_about_a_group_are_told_from_those_about_a_flag_of_its_name() {
    let folder = TempDir::new().unwrap();
    let mut memory = MemoryState::default();
    let mut store = open(folder.path());
    let of_flag = line("beta", 1, "of the flag");
    let of_group = JournalLine {
        subject: Subject::Group("beta".parse().unwrap()),
        ..line("beta", 2, "of the group")
    };
    let transition = Transition {
        lines: vec![of_flag.clone(), of_group.clone()],
        ..Transition::default()
    };
    store.writer.save(&transition).unwrap();
    memory.save(&transition).unwrap();
    for line in [of_flag, of_group] {
        let wanted = JournalQuery {
            subject: Some(line.subject.clone()),
            limit: 9,
            ..JournalQuery::default()
        };
        for reader in [&*store.reader, &memory] {
            let lines = reader.journal(&wanted).unwrap();
            let told: Vec<_> = lines.iter().map(|line| &line.entry.what).collect();
            assert_eq!(told, [&line.entry.what]);
            assert_eq!(lines[0].subject, line.subject);
        }
    }
}

#[test]
fn definitions_of_created_flags_are_there_again_until_they_are_deleted() {
    let folder = TempDir::new().unwrap();
    let mut memory = MemoryState::default();
    let mut store = open(folder.path());
    for created in [
        vec![("a", Some("{1}")), ("b", Some("{2}"))],
        vec![("a", Some("{3}")), ("b", None), ("c", None)],
    ] {
        let named = created.into_iter();
        let named = named.map(|(flag, text)| (flag.parse().unwrap(), text.map(Arc::from)));
        let transition = Transition {
            created: named.collect(),
            ..Transition::default()
        };
        store.writer.save(&transition).unwrap();
        memory.save(&transition).unwrap();
    }
    drop(store);
    let store = open(folder.path());
    let there = store.saved.created.iter();
    let there: Vec<_> = there.map(|(flag, text)| (flag.as_str(), &**text)).collect();
    assert_eq!(there, [("a", "{3}")]);
    assert_eq!(store.saved.created, memory.saved().created);
}

/// A key that stands nowhere else.
const FORGOTTEN: &str = "forget-me-not-4711";

fn put(group: &str, key: &str) -> Transition {
    Transition {
        assignments: vec![AssignmentChange {
            group: group.parse().unwrap(),
            key: key.into(),
            membership: Some(Membership::lasting(None, 1_000)),
        }],
        ..Transition::default()
    }
}

fn forget(key: &str) -> Transition {
    Transition {
        forgotten: vec![key.into()],
        lines: vec![line("orders", 5, "a caller forgotten")],
        ..Transition::default()
    }
}

fn holds(folder: &Path, text: &str) -> bool {
    let bytes = fs::read(folder.join(FILE)).unwrap();
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// Another one where another file has taken the place.
fn file_number(folder: &Path) -> u64 {
    fs::metadata(folder.join(FILE)).unwrap().ino()
}

/// State of every kind.
fn rich(writer: &mut dyn StateWriter) {
    let transitions = [
        transition("orders", "2.4.0", 7),
        put("beta", FORGOTTEN),
        put("vip", FORGOTTEN),
        put("beta", "ann"),
        Transition {
            freeze: Some(Some(freeze())),
            created: vec![("dark".parse().unwrap(), Some("variants: {}".into()))],
            pseudonyms: Some(Secret::new("0123")),
            ..Transition::default()
        },
    ];
    for transition in transitions {
        writer.save(&transition).unwrap();
    }
    writer.keep(vec![busy_point("orders", 10_000, 100)]);
    writer.keep_evidence(evidence("orders", 1));
}

#[test]
fn a_caller_that_is_forgotten_is_nowhere_in_the_file_and_all_else_is() {
    let folder = TempDir::new().unwrap();
    let mut store = open(folder.path());
    rich(&mut *store.writer);
    drop(store);
    let mut store = open(folder.path());
    let before = store.saved.clone();
    let lines = all_lines(&*store.reader);
    let points = store
        .reader
        .history(&"orders".parse().unwrap(), 0, u64::MAX)
        .unwrap();
    assert!(holds(folder.path(), FORGOTTEN) && points.len() == 1);
    // One who was taken out long ago is in pages that nothing uses.
    store
        .writer
        .save(&put("beta", "taken-out-long-ago"))
        .unwrap();
    let mut taken_out = put("beta", "taken-out-long-ago");
    taken_out.assignments[0].membership = None;
    store.writer.save(&taken_out).unwrap();
    assert!(
        holds(folder.path(), "taken-out-long-ago"),
        "else this shows nothing"
    );

    store.writer.save(&forget(FORGOTTEN)).unwrap();
    wait_until("the file is written anew", || {
        !holds(folder.path(), FORGOTTEN)
    });
    assert!(!holds(folder.path(), "taken-out-long-ago"));
    // It goes on in the new file.
    store.writer.save(&put("vip", "bob")).unwrap();
    assert_eq!(all_lines(&*store.reader).len(), lines.len() + 1);
    drop(store);
    let after = open(folder.path());
    let mut expected = before;
    expected
        .assignments
        .retain(|(_, key), _| **key != *FORGOTTEN);
    let bob = (
        ("vip".parse().unwrap(), "bob".into()),
        Membership::lasting(None, 1_000),
    );
    expected.assignments.extend([bob]);
    assert_eq!(after.saved, expected);
    assert_eq!(after.saved.pseudonyms, Some(Secret::new("0123")));
    let again = after
        .reader
        .history(&"orders".parse().unwrap(), 0, u64::MAX)
        .unwrap();
    assert_eq!(again, points);
    assert!(!holds(folder.path(), FORGOTTEN));
}

#[test]
fn where_the_process_ended_first_the_next_start_writes_the_file_anew() {
    let folder = TempDir::new().unwrap();
    let mut store = open(folder.path());
    rich(&mut *store.writer);
    drop(store);
    let database = redb::Database::open(folder.path().join(FILE)).unwrap();
    let batch = Batch {
        forgotten: [FORGOTTEN.into()].into(),
        ..Batch::default()
    };
    commit::write(&database, &batch, 5).unwrap();
    database.close().unwrap();
    let erased = file_number(folder.path());
    let store = open(folder.path());
    let renewed = file_number(folder.path());
    assert!(renewed != erased && !holds(folder.path(), FORGOTTEN));
    assert_eq!(store.saved.assignments.len(), 1);
    drop(store);
    drop(open(folder.path()));
    assert_eq!(file_number(folder.path()), renewed, "once is enough");
}

#[test]
fn a_file_that_cannot_be_written_anew_is_used_as_it_is() {
    const LATER: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("later");
    let folder = TempDir::new().unwrap();
    let mut store = open(folder.path());
    rich(&mut *store.writer);
    drop(store);
    let database = redb::Database::open(folder.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    // It would be lost.
    transaction
        .open_table(LATER)
        .unwrap()
        .insert("a", 1)
        .unwrap();
    transaction.commit().unwrap();
    database.close().unwrap();
    let before = file_number(folder.path());
    let mut store = open(folder.path());
    store.writer.save(&forget(FORGOTTEN)).unwrap();
    store.writer.save(&put("vip", "bob")).unwrap();
    drop(store);
    let store = open(folder.path());
    let keys = store.saved.assignments.keys().map(|(_, key)| &**key);
    assert_eq!(keys.collect::<Vec<_>>(), ["ann", "bob"]);
    assert_eq!(file_number(folder.path()), before);
    drop(store);
    let database = redb::Database::open(folder.path().join(FILE)).unwrap();
    assert!(renewal::is_due(&database).unwrap(), "it is tried again");
    let later = database.begin_read().unwrap().open_table(LATER).unwrap();
    assert_eq!(later.get("a").unwrap().unwrap().value(), 1);
}

#[test]
fn who_is_put_into_a_group_after_being_forgotten_is_in_it() {
    let disk = FaultyDisk::new();
    let mut store = open_disk(&disk, Duration::from_millis(500)).unwrap();
    store.writer.save(&put("beta", FORGOTTEN)).unwrap();
    disk.state().hangs = true;
    for transition in [
        put("vip", FORGOTTEN),
        forget(FORGOTTEN),
        put("late", FORGOTTEN),
    ] {
        store.writer.save(&transition).unwrap_err();
    }
    disk.wake();
    drop(store);
    let store = open_disk(&disk, PATIENT).unwrap();
    let groups = store
        .saved
        .assignments
        .keys()
        .map(|(group, _)| group.as_str());
    assert_eq!(groups.collect::<Vec<_>>(), ["late"]);
}

/// Changes of the feedback of a flag.
fn of_orders(parts: impl IntoIterator<Item = FeedbackPart>) -> Vec<FeedbackChange> {
    let changes = parts.into_iter().map(|part| FeedbackChange {
        flag: "orders".parse().unwrap(),
        part,
    });
    changes.collect()
}

/// A vote and a comment of the caller with a number.
fn said(voter: u64) -> [FeedbackPart; 2] {
    let vote = Vote {
        number: voter,
        rating: 1.try_into().unwrap(),
        shown: Shown {
            variant: Variant::Canary,
            group: None,
        },
        caller: format!("caller-{voter}").into(),
        source: None,
        comment: Some(voter),
        told: None,
    };
    let comment = Comment {
        number: voter,
        at_unix_ms: 5,
        revision: "1".to_owned(),
        caller: vote.caller.clone(),
        rating: vote.rating,
        variant: Variant::Canary,
        group: None,
        text: format!("words of {voter}"),
    };
    [
        FeedbackPart::Comment(voter, Some(comment)),
        FeedbackPart::Vote(voter, Some(vote)),
    ]
}

/// What takes that back.
fn taken_back(voter: u64) -> [FeedbackPart; 2] {
    [
        FeedbackPart::Comment(voter, None),
        FeedbackPart::Vote(voter, None),
    ]
}

/// The numbers of the callers whose votes and comments the next process would find on a disk.
fn heard(disk: &FaultyDisk) -> (Vec<u64>, Vec<u64>) {
    let copy = FaultyDisk::with_bytes(disk.bytes());
    let (_, mut saved) = medium::open(&mut FaultyMedium(copy)).unwrap();
    let orders = saved.feedback.remove(&"orders".parse().unwrap());
    let SavedFeedback {
        votes, comments, ..
    } = orders.unwrap_or_default();
    (votes.into_keys().collect(), comments.into_keys().collect())
}

/// A store with feedback of callers 1 and 2 on its disk.
fn with_feedback(disk: &FaultyDisk) -> Opened {
    let mut store = open_disk(disk, PATIENT).unwrap();
    let began = FeedbackPart::Began(Tried {
        release: record("orders", "1", 1).release,
        attempt: 1,
    });
    let all = [began].into_iter().chain(said(1)).chain(said(2));
    store.writer.keep_feedback(of_orders(all));
    wait_until("it is written", || heard(disk) == (vec![1, 2], vec![1, 2]));
    store
}

#[test]
fn what_a_forgotten_caller_said_is_gone_when_that_is_told_wherever_the_disk_fails() {
    let mut told = Vec::new();
    for at in 0..60 {
        let disk = FaultyDisk::new();
        let mut store = with_feedback(&disk);
        disk.state().fails_after = Some(at);
        store.writer.keep_feedback(of_orders(taken_back(1)));
        let is_told = store.writer.save(&forget(FORGOTTEN)).is_ok();
        // As `kill -9` leaves it now.
        let left = FaultyDisk::with_bytes(disk.bytes());
        if is_told {
            assert_eq!(heard(&left), (vec![2], vec![2]), "told after {at} writes");
        }
        told.push(is_told);
        disk.state().fails_after = Some(0);
        drop(store);
    }
    assert!(!told[0], "a dead disk takes nothing");
    assert!(told[59], "and one that works does");
}

#[test]
fn what_a_forgotten_caller_said_is_gone_from_a_full_disk_as_well() {
    let disk = FaultyDisk::new();
    disk.state().room_blocks = Some(300);
    let mut store = with_feedback(&disk);
    let long = "x".repeat(20_000);
    let mut step = 0;
    while store.reader.health().problem.is_none() {
        step += 1;
        let mut transition = transition("orders", "1", step);
        transition.lines.push(line("orders", step, &long));
        store.writer.save(&transition).unwrap();
        assert!(step < 1_000, "the disk never fills");
    }
    store.writer.keep_feedback(of_orders(said(3)));
    store.writer.keep_feedback(of_orders(taken_back(1)));
    store.writer.save(&transition("orders", "1", 0)).unwrap();
    assert_eq!(
        heard(&disk),
        (vec![1, 2], vec![1, 2]),
        "else the room is for rollbacks"
    );
    store.writer.save(&forget(FORGOTTEN)).unwrap();
    assert_eq!(heard(&disk), (vec![2], vec![2]), "with no room for more");
}

#[test]
fn many_who_are_forgotten_together_cost_one_file_written_anew() {
    let disk = FaultyDisk::new();
    let mut store = open_renewed_after(&disk, Duration::from_secs(3_600));
    for key in ["ann", "bob", "cleo", "dan"] {
        store.writer.save(&put("beta", key)).unwrap();
        store.writer.save(&forget(key)).unwrap();
    }
    assert_eq!(disk.state().renewals, 0, "it waits for more");
    drop(store);
    assert_eq!(disk.state().renewals, 1, "but not beyond the end");
    let mut store = open_renewed_after(&disk, Duration::ZERO);
    assert!(store.saved.assignments.is_empty());
    for times in 2..4 {
        store.writer.save(&forget("eve")).unwrap();
        // Nobody asks for anything meanwhile.
        wait_until("it is written anew", || disk.state().renewals == times);
    }
    drop(store);
    assert_eq!(disk.state().renewals, 3, "nobody was erased since");
}

#[test]
fn a_file_is_not_written_anew_while_something_is_still_to_go_from_it() {
    let disk = FaultyDisk::new();
    let mut medium = FaultyMedium(disk.clone());
    let (database, _) = medium::open(&mut medium).unwrap();
    let shared = Shared::new("disk".to_owned());
    shared.swap(Some(database));
    let mut renewal = Renewal::default();
    assert!(!renewal.carry_out(&shared, &mut medium, true), "for what?");
    renewal.note(Duration::ZERO);
    shared.leave_feedback(of_orders(taken_back(1)));
    for is_end in [false, true] {
        assert!(!renewal.carry_out(&shared, &mut medium, is_end));
    }
    shared.take_feedback();
    shared.leave_feedback(of_orders(said(2)));
    assert!(renewal.carry_out(&shared, &mut medium, false));
    assert_eq!((renewal.due(), disk.state().renewals), (None, 1));
}

/// Puts callers into groups.
fn assign_all<'a>(
    database: &redb::Database,
    members: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    let member = |(group, key): (&str, &str)| {
        let place = (group.parse().unwrap(), key.into());
        (place, Some(Membership::lasting(None, 1)))
    };
    let batch = Batch {
        assignments: members.into_iter().map(member).collect(),
        ..Batch::default()
    };
    commit::write(database, &batch, 5).unwrap();
}

fn forget_all(database: &redb::Database, keys: &[&str]) {
    let batch = Batch {
        forgotten: keys.iter().map(|key| Box::from(*key)).collect(),
        ..Batch::default()
    };
    commit::write(database, &batch, 5).unwrap();
}

#[test]
fn a_caller_is_found_among_many_without_reading_them_all() {
    let disk = FaultyDisk::new();
    // Nothing is read twice from memory.
    let mut builder = redb::Database::builder();
    builder.set_cache_size(0);
    let database = builder.create_with_backend(disk.clone()).unwrap();
    let keys: Vec<_> = (0..20_000)
        .map(|number| format!("caller-{number}"))
        .collect();
    let groups = ["beta", "staff", "vip"];
    let members = groups.into_iter().flat_map(|group| {
        let keys = keys.iter();
        keys.map(move |key| (group, key.as_str()))
    });
    assign_all(&database, members);
    let read_by = |keys: &[&str]| {
        let before = disk.state().read_bytes;
        forget_all(&database, keys);
        disk.state().read_bytes - before
    };
    let without = read_by(&[]);
    let read = read_by(&["caller-4711"]) - without;
    let bytes = disk.bytes().len();
    assert!(read < bytes / 8, "{read} of {bytes} bytes were read");
    let saved = schema::read_through(&database.begin_read().unwrap()).unwrap();
    assert_eq!(saved.assignments.len(), 3 * 19_999);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn who_is_forgotten_is_in_no_group_and_everybody_else_is(
        members in prop::collection::btree_set(("[ab][ab-]{0,2}", "[xyz]{1,2}"), 0..40),
        forgotten in prop::collection::btree_set("[xyz]{1,2}", 0..4),
    ) {
        let members = members.iter().filter(|(group, _)| group.parse::<GroupName>().is_ok());
        let members: Vec<_> = members.map(|(group, key)| (group.as_str(), key.as_str())).collect();
        let backend = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(backend).unwrap();
        schema::create(&database).unwrap();
        assign_all(&database, members.iter().copied());
        let keys: Vec<_> = forgotten.iter().map(String::as_str).collect();
        forget_all(&database, &keys);
        let saved = schema::read_through(&database.begin_read().unwrap()).unwrap();
        let left = saved.assignments.keys().map(|(group, key)| (group.as_str(), &**key));
        let expected = members.into_iter().filter(|(_, key)| !forgotten.contains(*key));
        prop_assert_eq!(left.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}
