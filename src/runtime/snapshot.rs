//! One value, one writer, many readers who never wait.
//!
//! Whoever works with a value keeps its own reference to it, and looks at one number to see whether
//! there is a newer one: on the request path that is one load of a line that is almost never written, where a
//! shared reference count would be one write to a line that all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

#[derive(Debug)]
struct Shared<T> {
    current: ArcSwap<T>,
    /// Counts the values published; raised after `current` is replaced.
    version: AtomicU64,
    /// Wakes whoever waits for the next value.
    news: Notify,
}

/// Publishes values. There is one for each snapshot.
#[derive(Debug)]
pub struct SnapshotWriter<T> {
    shared: Arc<Shared<T>>,
}

impl<T> SnapshotWriter<T> {
    /// Starts with a first value.
    pub fn new(first: T) -> Self {
        let current = ArcSwap::from_pointee(first);
        Self {
            shared: Arc::new(Shared {
                current,
                version: AtomicU64::new(0),
                news: Notify::new(),
            }),
        }
    }

    /// Replaces the value as a whole; readers see it with their next look.
    pub fn publish(&mut self, value: T) {
        self.shared.current.store(Arc::new(value));
        self.shared.version.fetch_add(1, Ordering::Release);
        self.shared.news.notify_waiters();
    }

    /// The value that readers see now.
    pub fn current(&self) -> Arc<T> {
        self.shared.current.load_full()
    }

    /// A new reader, to whom the current value is news.
    pub fn reader(&self) -> SnapshotReader<T> {
        SnapshotReader {
            shared: Arc::clone(&self.shared),
            seen: None,
        }
    }
}

/// Sees the latest published value. It holds none itself, so a value that nobody works with any
/// more is freed.
#[derive(Debug)]
pub struct SnapshotReader<T> {
    shared: Arc<Shared<T>>,
    /// The version last handed out by [`refresh`](Self::refresh).
    seen: Option<u64>,
}

impl<T> Clone for SnapshotReader<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            seen: self.seen,
        }
    }
}

impl<T> SnapshotReader<T> {
    /// The latest value, if it is newer than the one this reader was given last.
    pub fn refresh(&mut self) -> Option<Arc<T>> {
        let version = self.shared.version.load(Ordering::Acquire);
        if self.seen == Some(version) {
            return None;
        }
        self.seen = Some(version);
        Some(self.load())
    }

    /// How many values had been published before the one this reader was given last.
    pub fn version(&self) -> u64 {
        self.seen.unwrap_or_default()
    }

    /// Waits for a value that is newer than the one this reader was given last, and gives the latest.
    pub async fn changed(&mut self) -> Arc<T> {
        loop {
            let shared = Arc::clone(&self.shared);
            // Whatever is published from here on wakes it, so nothing is missed between the look and the
            // wait.
            let news = shared.news.notified();
            if let Some(value) = self.refresh() {
                return value;
            }
            news.await;
        }
    }

    /// The latest value.
    pub fn load(&self) -> Arc<T> {
        self.shared.current.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_each_value_once_and_always_the_latest() {
        let mut writer = SnapshotWriter::new(1);
        let mut reader = writer.reader();
        assert_eq!(reader.refresh().as_deref(), Some(&1));
        assert!(reader.refresh().is_none());
        writer.publish(2);
        writer.publish(3);
        assert_eq!(reader.refresh().as_deref(), Some(&3));
        assert!(reader.refresh().is_none());
        assert_eq!(*writer.current(), 3);
    }

    #[tokio::test]
    async fn a_reader_waits_for_what_it_has_not_seen() {
        let mut writer = SnapshotWriter::new(1);
        let mut reader = writer.reader();
        assert_eq!(*reader.changed().await, 1);
        let waiting = tokio::spawn(async move { *reader.changed().await });
        // Its first look finds nothing new.
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        writer.publish(2);
        assert_eq!(waiting.await.ok(), Some(2));
    }
}
