//! What the judge's tests were told of each rollout, tick by tick, to be replayed elsewhere.
//!
//! Written by the controller once a tick. A recording is kept in pieces, and each begins with all that the
//! judge knew before its first tick. What is too much goes a piece at a time, the oldest first; the trace
//! begins with the next one then, and a replay goes on from there to the rulings that were given. Whoever
//! reads takes hold of the pieces only, and joins them where nobody waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::ids::FlagName;
use crate::domain::judge::trace::{Known, Trace};
use crate::domain::judge::{Judge, SECONDS_PER_TICK};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The most bytes of one rollout's recording.
    of_each: usize,
    /// The most bytes of all recordings together.
    of_all: usize,
    /// The most ticks of a piece.
    piece_ticks: usize,
    /// From so many bytes on a piece is full, however few its ticks are.
    piece_bytes: usize,
}

impl Default for Limits {
    /// Some three hours of two arms of each rollout, and eight times that of all. A piece is a quarter of
    /// an hour: what the judge knows is no more than a tenth of it then.
    fn default() -> Self {
        Self {
            of_each: 8 << 20,
            of_all: 64 << 20,
            piece_ticks: 15 * 60,
            piece_bytes: 1 << 20,
        }
    }
}

/// The recordings of all rollouts. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Recordings {
    limits: Limits,
    by_flag: Arc<Mutex<BTreeMap<FlagName, Recording>>>,
}

/// The pieces of a recording as they were at a moment, to be joined elsewhere.
#[derive(Clone, Debug)]
pub struct Recorded(Vec<Piece>);

#[derive(Debug, Default)]
struct Recording {
    /// Oldest first. None, where all had to go for the sake of other rollouts.
    pieces: VecDeque<Piece>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Piece {
    /// The header of a trace that begins with this piece.
    header: Arc<str>,
    /// One line for each tick. Copied where it grows while somebody reads it, and only then.
    lines: Arc<String>,
    ticks: usize,
}

impl Recordings {
    /// The recording of a flag's rollout; `None` where nothing was judged.
    pub fn of(&self, flag: &str) -> Option<Recorded> {
        let recordings = self.lock();
        let recording = recordings.iter().find(|(name, _)| name.as_str() == flag)?.1;
        let pieces: Vec<_> = recording.pieces.iter().cloned().collect();
        (!pieces.is_empty()).then_some(Recorded(pieces))
    }

    /// Begins anew, with a judge that has been told nothing yet.
    pub(crate) fn begin(&self, flag: &FlagName, judge: &Judge) {
        let known = judge.has_history().then(|| Known {
            evidence: judge.evidence(),
            goes_on: false,
        });
        if let Some(piece) = Piece::begin(flag, judge, known.as_ref()) {
            let mut recording = Recording::default();
            recording.push(piece);
            self.lock().insert(flag.clone(), recording);
        }
    }

    /// Adds the tick that a judge was told last.
    pub(crate) fn add(&self, flag: &FlagName, judge: &Judge) {
        let mut recordings = self.lock();
        let Some(recording) = recordings.get_mut(flag) else {
            return;
        };
        recording.add_tick(judge);
        if recording.has_full_piece(&self.limits) {
            recording.begin_piece(flag, judge);
        }
        while recording.bytes > self.limits.of_each {
            recording.drop_oldest();
        }
        bound_all(&mut recordings, self.limits.of_all);
    }

    /// Forgets flags that have no rollout any more.
    pub(crate) fn retain(&self, mut is_kept: impl FnMut(&FlagName) -> bool) {
        self.lock().retain(|flag, _| is_kept(flag));
    }

    /// A recording is whole between any two statements, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<FlagName, Recording>> {
        self.by_flag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops pieces of the largest recordings while there is too much altogether.
fn bound_all(recordings: &mut BTreeMap<FlagName, Recording>, bytes_max: usize) {
    let mut bytes: usize = recordings.values().map(|recording| recording.bytes).sum();
    while bytes > bytes_max {
        let largest = recordings.values_mut().max_by_key(|one| one.bytes);
        bytes -= largest.map_or(bytes, Recording::drop_oldest);
    }
}

impl Recorded {
    /// The trace, line by line.
    pub fn trace(&self) -> String {
        let header = self.0.first().map_or("", |piece| &piece.header);
        let bytes = self.0.iter().map(|piece| piece.lines.len());
        let mut text = String::with_capacity(header.len() + 1 + bytes.sum::<usize>());
        text.push_str(header);
        text.push('\n');
        self.0.iter().for_each(|piece| text.push_str(&piece.lines));
        text
    }
}

impl Recording {
    fn push(&mut self, piece: Piece) {
        self.bytes += piece.bytes();
        self.pieces.push_back(piece);
    }

    /// Adds to the last piece, if there is one.
    fn add_tick(&mut self, judge: &Judge) {
        // A number that JSON has none for is no count.
        if let (Some(piece), Ok(line)) =
            (self.pieces.back_mut(), Trace::tick_line(judge.last_tick()))
        {
            self.bytes += line.len() + 1;
            let lines = Arc::make_mut(&mut piece.lines);
            lines.push_str(&line);
            lines.push('\n');
            piece.ticks += 1;
        }
    }

    fn has_full_piece(&self, limits: &Limits) -> bool {
        self.pieces.back().is_none_or(|piece| {
            piece.ticks >= limits.piece_ticks || piece.lines.len() >= limits.piece_bytes
        })
    }

    /// Goes on in another piece, which begins with what the judge knows by now.
    fn begin_piece(&mut self, flag: &FlagName, judge: &Judge) {
        let known = Known {
            evidence: judge.evidence(),
            goes_on: true,
        };
        if let Some(piece) = Piece::begin(flag, judge, Some(&known)) {
            if let Some(full) = self.pieces.back_mut() {
                Arc::make_mut(&mut full.lines).shrink_to_fit();
            }
            self.push(piece);
        }
    }

    /// Drops the oldest piece; tells how many bytes that were.
    fn drop_oldest(&mut self) -> usize {
        let dropped = self.pieces.pop_front();
        let bytes = dropped.map_or(self.bytes, |piece| piece.bytes());
        self.bytes -= bytes;
        bytes
    }
}

impl Piece {
    fn begin(flag: &FlagName, judge: &Judge, known: Option<&Known>) -> Option<Self> {
        let settings = judge.test_settings();
        match Trace::header_line(flag.as_str(), settings, SECONDS_PER_TICK, known) {
            Ok(header) => Some(Self {
                header: header.into(),
                lines: Arc::default(),
                ticks: 0,
            }),
            Err(error) => {
                tracing::warn!(%flag, %error, "the judge's ticks are not recorded");
                None
            }
        }
    }

    fn bytes(&self) -> usize {
        self.header.len() + 1 + self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::TickCounts;
    use crate::domain::judge::sequential::{Ruling, Unit};
    use crate::domain::judge::{JudgeSettings, StageContext};
    use crate::domain::stage_weights::StageWeights;
    use crate::domain::testing::{name, percent};
    use crate::domain::timestamp::Timestamp;
    use crate::simulator::scene::{Look, Scene, Tally};
    use crate::simulator::{Activity, Crowd};

    /// A rollout to half of 300 callers that is judged and recorded each second.
    struct Recorder {
        flag: FlagName,
        judge: Judge,
        tally: Tally,
        second: u32,
    }

    impl Recorder {
        fn begin(flag: &str, recordings: &Recordings) -> Self {
            let flag = name(flag);
            let judge = Judge::new(JudgeSettings {
                unit: Unit::Caller,
                ..JudgeSettings::default()
            });
            recordings.begin(&flag, &judge);
            let crowd = Crowd {
                callers: 300,
                rate: 40.0,
                activity: Activity::ByRank,
            };
            Self {
                flag,
                judge,
                tally: Tally::new(Scene::of_callers(crowd), 7),
                second: 0,
            }
        }

        fn run(&mut self, ticks: u32, recordings: &Recordings) {
            for _ in 0..ticks {
                self.tick();
                recordings.add(&self.flag, &self.judge);
            }
        }

        fn tick(&mut self) {
            let weights = StageWeights {
                default: percent(50),
                ..StageWeights::default()
            };
            let stage = StageContext {
                epoch: 1,
                counted_from: Timestamp::default(),
                min_requests: 7,
                next: weights.clone(),
                left: Vec::new(),
                weights,
            };
            let now = Timestamp::since_start(std::time::Duration::from_secs(self.second.into()));
            let callers = self.judge.next_tick(&stage, now);
            self.tally.clear(callers.clearing);
            let strata = self.tally.tick(&Look {
                second: self.second.into(),
                seconds: 1.0,
                stage: 0,
                epoch: 1,
                weights: &stage.weights,
                now: callers.now,
                cuts: self.judge.sight(),
            });
            let counts: TickCounts = strata.into_iter().collect();
            self.judge.observe(&counts, &stage, now);
            self.second += 1;
        }
    }

    fn recordings(limits: Limits) -> Recordings {
        Recordings {
            limits,
            ..Recordings::default()
        }
    }

    fn trace(recordings: &Recordings, flag: &str) -> Trace {
        Trace::parse(&recordings.of(flag).unwrap().trace()).unwrap()
    }

    fn rulings(trace: &Trace) -> Vec<Ruling> {
        let mut rulings = Vec::new();
        trace.replay(|_, ruling| rulings.push(ruling.clone()));
        rulings
    }

    #[test]
    fn what_was_recorded_is_a_trace() {
        let recordings = Recordings::default();
        assert!(recordings.of("orders").is_none());
        let mut recorder = Recorder::begin("orders", &recordings);
        recorder.run(3, &recordings);
        let trace = trace(&recordings, "orders");
        assert_eq!((trace.ticks.len(), trace.known), (3, None));
        assert!(trace.ticks[0].is_warm_up && !trace.ticks[1].is_warm_up);
        assert_eq!(trace.ticks[2].requests_min, Some(7));
        assert_eq!(trace.settings, *recorder.judge.test_settings());
        recordings.retain(|_| false);
        assert!(recordings.of("orders").is_none());
    }

    #[test]
    fn the_oldest_pieces_go_and_the_rest_replays_to_the_same_rulings() {
        let limits = Limits {
            of_each: 600_000,
            piece_ticks: 60,
            ..Limits::default()
        };
        let (cut, whole) = (recordings(limits), Recordings::default());
        let mut recorder = Recorder::begin("orders", &cut);
        whole.begin(&recorder.flag, &recorder.judge);
        for _ in 0..900 {
            recorder.run(1, &cut);
            whole.add(&recorder.flag, &recorder.judge);
            assert!(cut.lock()[&recorder.flag].bytes <= limits.of_each);
        }
        let (cut, whole) = (trace(&cut, "orders"), trace(&whole, "orders"));
        assert!(cut.known.as_ref().unwrap().goes_on);
        let (found, expected) = (rulings(&cut), rulings(&whole));
        assert_eq!(expected.len(), 900);
        let kept_from = expected.len() - found.len();
        assert!((60..840).contains(&kept_from), "{kept_from}");
        for (found, expected) in found.iter().zip(&expected[kept_from..]) {
            let tick = expected.tick;
            assert_eq!((found.tick, found.action), (tick, expected.action));
            let difference = found.log_evidence - expected.log_evidence;
            assert!(difference.abs() < 1e-9, "{tick}: {difference}");
        }
    }

    #[test]
    fn all_recordings_have_a_bound_and_the_largest_pays() {
        let limits = Limits {
            of_all: 200_000,
            piece_ticks: 20,
            ..Limits::default()
        };
        let recordings = recordings(limits);
        let all = || {
            recordings
                .lock()
                .values()
                .map(|one| one.bytes)
                .sum::<usize>()
        };
        let mut small = Recorder::begin("small", &recordings);
        small.run(20, &recordings);
        let mut large = Recorder::begin("large", &recordings);
        for _ in 0..600 {
            large.run(1, &recordings);
            assert!(all() <= limits.of_all);
        }
        assert_eq!(trace(&recordings, "small").ticks.len(), 20);
        let first = trace(&recordings, "large").ticks[0].number;
        assert!(first > 20, "{first}");
        // One whose every piece had to go is recorded anew from the next tick on.
        let mut kept = recordings.lock();
        let of_small = kept.get_mut(&small.flag).unwrap();
        while of_small.drop_oldest() > 0 {}
        drop(kept);
        assert!(recordings.of("small").is_none());
        small.run(3, &recordings);
        let again = trace(&recordings, "small");
        assert!(again.known.unwrap().goes_on);
        assert_eq!(again.ticks.len(), 2);
    }

    #[test]
    fn what_somebody_reads_stays_as_it_was() {
        let recordings = Recordings::default();
        let mut recorder = Recorder::begin("orders", &recordings);
        recorder.run(2, &recordings);
        let read = recordings.of("orders").unwrap();
        recorder.run(2, &recordings);
        assert_eq!(read.trace().lines().count(), 3);
        let lines = recordings.of("orders").unwrap().trace().lines().count();
        assert_eq!(lines, 5);
    }
}
