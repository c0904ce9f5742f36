//! A measured time that can be stopped and goes on later, and outlives the clock it was taken on.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::timestamp::Timestamp;

/// Time that has passed while it ran.
///
/// What is stored of it is the time it showed when it was last [settled](Self::settled), in whole
/// seconds; what is read back stands still, for the clock that it ran on is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopwatch {
    before: Duration,
    running_since: Option<Timestamp>,
}

impl Stopwatch {
    /// One that starts from nothing.
    pub const fn started(now: Timestamp) -> Self {
        Self {
            before: Duration::ZERO,
            running_since: Some(now),
        }
    }

    /// The time it shows.
    pub fn elapsed(self, now: Timestamp) -> Duration {
        let running = self
            .running_since
            .map_or(Duration::ZERO, |since| now - since);
        self.before.saturating_add(running)
    }

    /// The time that is stored of it.
    pub const fn stored(self) -> Duration {
        self.before
    }

    /// The same, if it shows as much; else one that stands still and does.
    pub fn at_least(self, shown: Duration) -> Self {
        if self.before >= shown {
            return self;
        }
        Self {
            before: shown,
            running_since: None,
        }
    }

    /// The same, standing still.
    pub fn stopped(self, now: Timestamp) -> Self {
        Self {
            before: self.elapsed(now),
            running_since: None,
        }
    }

    /// The same, running.
    pub fn resumed(self, now: Timestamp) -> Self {
        Self {
            before: self.elapsed(now),
            running_since: Some(now),
        }
    }

    /// The same, running or not, with all that it shows ready to be stored.
    pub fn settled(self, now: Timestamp) -> Self {
        match self.running_since {
            Some(_) => self.resumed(now),
            None => self,
        }
    }
}

impl Serialize for Stopwatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.before.as_secs())
    }
}

impl<'de> Deserialize<'de> for Stopwatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            before: Duration::from_secs(u64::deserialize(deserializer)?),
            running_since: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(seconds))
    }

    #[test]
    fn only_the_time_it_runs_counts_and_a_store_keeps_what_was_settled() {
        let watch = Stopwatch::started(at(10)).stopped(at(15)).resumed(at(100));
        assert_eq!(watch.elapsed(at(107)), Duration::from_secs(12));
        let stored = serde_json::to_string(&watch.settled(at(107))).unwrap();
        let read: Stopwatch = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.elapsed(at(9)), Duration::from_secs(12));
        assert_eq!(read.resumed(at(3)).elapsed(at(4)), Duration::from_secs(13));
    }
}
