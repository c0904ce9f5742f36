//! What the judge's tests were told of each rollout, tick by tick, to be replayed elsewhere.
//!
//! Written by the controller once a tick and read by whoever asks for it; nobody else is kept waiting.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::ids::FlagName;
use crate::domain::judge::trace::Trace;
use crate::domain::judge::{Judge, SECONDS_PER_TICK};

/// The most bytes of one rollout's recording: some three hours of two arms. The oldest ticks go first.
const BYTES_MAX: usize = 8 << 20;

/// The recordings of all rollouts. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Recordings(Arc<Mutex<BTreeMap<FlagName, Recording>>>);

#[derive(Debug, Default)]
struct Recording {
    header: String,
    ticks: VecDeque<String>,
    bytes: usize,
}

impl Recordings {
    /// The recording of a flag's rollout as a trace, line by line; `None` where nothing was judged.
    pub fn trace(&self, flag: &str) -> Option<String> {
        let recordings = self.lock();
        let recording = recordings.iter().find(|(name, _)| name.as_str() == flag)?.1;
        let mut text = String::with_capacity(recording.header.len() + recording.bytes + 1);
        for line in std::iter::once(&recording.header).chain(&recording.ticks) {
            text.push_str(line);
            text.push('\n');
        }
        Some(text)
    }

    /// Begins anew, with a judge that has been told nothing yet.
    pub(crate) fn begin(&self, flag: &FlagName, judge: &Judge) {
        let settings = judge.test_settings();
        let evidence = judge.has_history().then(|| judge.evidence());
        let header =
            Trace::header_line(flag.as_str(), settings, SECONDS_PER_TICK, evidence.as_ref());
        match header {
            Ok(header) => {
                let recording = Recording {
                    header,
                    ..Recording::default()
                };
                self.lock().insert(flag.clone(), recording);
            }
            Err(error) => tracing::warn!(%flag, %error, "the judge's ticks are not recorded"),
        }
    }

    /// Adds the tick that a judge was told last.
    pub(crate) fn add(&self, flag: &FlagName, judge: &Judge) {
        let mut recordings = self.lock();
        let Some(recording) = recordings.get_mut(flag) else {
            return;
        };
        // A number that JSON has none for is no count.
        if let Ok(line) = Trace::tick_line(judge.last_tick()) {
            recording.bytes += line.len() + 1;
            recording.ticks.push_back(line);
        }
        while recording.bytes > BYTES_MAX {
            let oldest = recording.ticks.pop_front();
            recording.bytes -= oldest.map_or(recording.bytes, |line| line.len() + 1);
        }
    }

    /// Forgets flags that have no rollout any more.
    pub(crate) fn retain(&self, mut is_kept: impl FnMut(&FlagName) -> bool) {
        self.lock().retain(|flag, _| is_kept(flag));
    }

    /// A recording is whole between any two statements, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<FlagName, Recording>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::TickCounts;
    use crate::domain::judge::{JudgeSettings, StageContext};
    use crate::domain::stage_weights::StageWeights;
    use crate::domain::testing::{name, percent};
    use crate::domain::timestamp::Timestamp;

    #[test]
    fn what_was_recorded_is_a_trace_and_has_a_bound() {
        let (recordings, flag) = (Recordings::default(), name::<FlagName>("orders"));
        let mut judge = Judge::new(JudgeSettings::default());
        assert_eq!(recordings.trace("orders"), None);
        recordings.begin(&flag, &judge);
        let weights = StageWeights {
            default: percent(10),
            ..StageWeights::default()
        };
        let stage = StageContext {
            epoch: 1,
            counted_from: Timestamp::default(),
            min_requests: 7,
            next: weights.clone(),
            weights,
        };
        let mut tick = || {
            let _ = judge.next_tick(&stage, Timestamp::default());
            judge.observe(&TickCounts::default(), &stage, Timestamp::default());
            recordings.add(&flag, &judge);
        };
        (0..3).for_each(|_| tick());
        let text = recordings.trace("orders").unwrap();
        let trace = Trace::parse(&text).unwrap();
        assert_eq!(trace.ticks.len(), 3);
        assert!(trace.ticks[0].is_warm_up && !trace.ticks[1].is_warm_up);
        assert_eq!(trace.ticks[2].requests_min, Some(7));
        assert_eq!(trace.settings, *judge.test_settings());

        let line = Trace::tick_line(judge.last_tick()).unwrap().len() + 1;
        for _ in 0..BYTES_MAX / line + 100 {
            recordings.add(&flag, &judge);
        }
        let text = recordings.trace("orders").unwrap();
        assert!(text.len() < BYTES_MAX + 10_000);
        assert!(text.len() > BYTES_MAX - 10_000);
        recordings.retain(|_| false);
        assert_eq!(recordings.trace("orders"), None);
    }
}
