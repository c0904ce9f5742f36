//! The thread that writes: its rounds, and what it says of lines that are lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::adapters::access_log::sink::{Sink, Written};
use crate::runtime::clock;
use crate::runtime::trays::{Tally, TrayReceiver};
use crate::telemetry::access_log::{Record, write_line};

/// How many bytes of lines are written at once, at about: enough to make system calls rare, and not
/// much to hold.
const CHUNK_BYTES: usize = 64 * 1024;

/// How often it is said, at the most, that lines are lost.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Writes what workers leave.
#[derive(Debug)]
pub struct Writer {
    trays: TrayReceiver<Box<Record>>,
    output: Output,
}

/// Lines on their way out.
#[derive(Debug)]
struct Output {
    sink: Sink,
    tally: Arc<Tally>,
    lines: Vec<u8>,
    /// Lines that were lost since it was last said.
    lost: u64,
    warned: Option<Instant>,
}

impl Writer {
    /// A writer of what is left in trays.
    pub fn new(trays: TrayReceiver<Box<Record>>, sink: Sink, tally: Arc<Tally>) -> Self {
        let output = Output {
            sink,
            tally,
            lines: Vec::new(),
            lost: 0,
            warned: None,
        };
        Self { trays, output }
    }

    /// Writes until nobody can leave anything any more and all of it is written.
    pub fn run(&mut self) {
        loop {
            let is_last = !self.trays.wait();
            self.round();
            if is_last {
                return;
            }
        }
    }

    fn round(&mut self) {
        let output = &mut self.output;
        let mut is_first = true;
        self.trays.take(|records| {
            if !records.is_empty() && is_first {
                is_first = false;
                let followed = output.sink.follow();
                output.count(followed);
            }
            for record in records.drain(..) {
                write_line(&record, &mut output.lines);
                if output.lines.len() >= CHUNK_BYTES {
                    output.flush();
                }
            }
        });
        output.flush();
    }
}

impl Output {
    fn flush(&mut self) {
        if !self.lines.is_empty() {
            let written = self.sink.write(&self.lines);
            self.lines.clear();
            self.count(written);
        }
    }

    /// Counts what came of lines, and says now and then what went wrong.
    fn count(&mut self, written: Written) {
        self.tally.add_written(written.whole);
        self.tally.add_dropped(written.lost);
        self.lost += written.lost;
        let Some(error) = written.error else {
            return;
        };
        let now = clock::monotonic();
        let is_time = |last: Instant| now - last >= WARNING_INTERVAL;
        if self.warned.is_none_or(is_time) {
            self.warned = Some(now);
            let lost = std::mem::take(&mut self.lost);
            tracing::warn!(%error, lost, "access log cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::LogTarget;
    use crate::runtime::trays::trays;
    use crate::telemetry::access_log::Arrival;

    #[test]
    fn what_was_left_is_written_to_the_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let tally = Arc::<Tally>::default();
        let (sender, receiver) = trays(2, Arc::clone(&tally));
        let sink = Sink::open(LogTarget::File(path.clone())).unwrap();
        let arrival = Arrival {
            client: "192.0.2.7".parse().unwrap(),
            scheme: "http",
            version: http::Version::HTTP_11,
        };
        for worker in [0, 1, 1] {
            let record = Record::new(arrival, Arc::default(), [b"GET", b"shop", b"/"]);
            assert!(sender.leave(worker, Box::new(record)));
        }
        drop(sender);
        Writer::new(receiver, sink, Arc::clone(&tally)).run();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        assert_eq!((tally.written(), tally.dropped()), (3, 0));
    }
}
