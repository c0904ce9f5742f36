//! How many rollouts come to their end, and how many of those that should not?

use serin::simulator::course::{Course, Pace};
use serin::simulator::scene::{Begins, Change, Harm, Load, Scene};

use crate::table::{Count, Row, Runs, Table, median};
use crate::worlds::{self, STAGES, fixed, promoted, run, with};

/// Rollouts of callers may take an hour.
const HOUR: u64 = 3_600;

struct Ended {
    promoted: Count,
    rolled_back: Count,
    /// Ticks that the promoted took.
    ticks: Vec<f64>,
}

fn end(scene: &Scene, seconds_max: u64, seeds: std::ops::Range<u64>) -> Ended {
    let mut ended = Ended {
        promoted: Count::default(),
        rolled_back: Count::default(),
        ticks: Vec::new(),
    };
    for seed in seeds {
        let outcome = run(&promoted(seconds_max), scene, seed);
        let is_promoted = outcome.promotions.len() == STAGES.len();
        ended.promoted.add(is_promoted);
        ended.rolled_back.add(outcome.rolled_back.is_some());
        ended
            .ticks
            .extend(is_promoted.then_some(outcome.ticks as f64));
    }
    ended
}

pub(crate) fn promoted_rollouts(runs: Runs) -> Table {
    let mut table = Table::new("Healthy rollouts promoted through all stages");
    let plain = worlds::requests;
    let wandering = Scene {
        load: Load::Wandering,
        ..plain()
    };
    let in_outage = with(plain(), &worlds::outage(150.0, 60.0));
    for (what, scene, seed) in [
        ("requests, plain", plain(), 80_000),
        ("requests, autocorrelated load", wandering, 81_000),
        ("requests, both arms fail for a minute", in_outage, 82_000),
    ] {
        let ended = end(&scene, 4 * HOUR, runs.seeds(seed, 60));
        table.add(Row {
            what: what.to_owned(),
            wanted: "60 of 60, median 53 to 58 ticks".to_owned(),
            measured: format!("{}, median {} ticks", ended.promoted, median(ended.ticks)),
            seed,
        });
    }
    for (callers, wanted) in [(100, "0"), (500, ".36"), (2_000, ".52"), (20_000, ".80")] {
        let ended = end(&worlds::callers(callers), HOUR, runs.seeds(3_000, 100));
        let (share, back) = (ended.promoted.share(), ended.rolled_back);
        table.add(Row {
            what: format!("{callers} callers, failures borne by few, within an hour"),
            wanted: wanted.to_owned(),
            measured: format!("{share:.2} ({}), rolled back {back}", ended.promoted),
            seed: 3_000,
        });
    }
    table
}

/// At 25 % with 50 % next, where half a point, or twice as often, is just what must be excluded.
/// How long the stage may last decides the outcome, and was chosen after 10, 20 and 60 minutes were tried.
pub(crate) fn harmful(runs: Runs) -> Table {
    let mut table = Table::new(
        "Canary harmful by the margin of the 25 % stage, promoted to 50 % within 20 minutes",
    );
    let course = Course {
        pace: Pace::Promoted(HOUR / 3),
        ..fixed(&[25.0, 50.0], 0)
    };
    for (what, harm, wanted, seed) in [
        (
            "every caller +.5 points",
            Harm::Fails(0.005),
            ["0", "0", "0"],
            4_000,
        ),
        (
            "who fails does so twice as often",
            Harm::FailsTimes(2.0),
            ["9", "9", "7"],
            5_000,
        ),
        (
            "who fails does so four times as often",
            Harm::FailsTimes(4.0),
            ["1", "0", "0"],
            6_000,
        ),
    ] {
        for (callers, wanted) in [300, 2_000, 20_000].into_iter().zip(wanted) {
            let change = Change::of_canary(harm, Begins::AtSecond(0.0));
            let scene = with(worlds::callers(callers), &[change]);
            let (mut promoted, mut rolled_back) = (Count::default(), Count::default());
            for seed in runs.seeds(seed, 80) {
                let outcome = run(&course, &scene, seed);
                promoted.add(!outcome.promotions.is_empty());
                rolled_back.add(outcome.rolled_back.is_some());
            }
            table.add(Row {
                what: format!("{what}, {callers} callers"),
                wanted: format!("{wanted} of 40"),
                measured: format!("{promoted}; rolled back, also later: {}", rolled_back.so),
                seed,
            });
        }
    }
    table
}
