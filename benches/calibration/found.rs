//! How soon is harm found?

use serin::simulator::Activity;
use serin::simulator::scene::{Begins, Change, Harm, Scene};

use crate::table::{Count, Row, Runs, Table, median};
use crate::worlds::{self, constant, failing, fixed, run, with};

/// Seconds after which one gives up.
const SECONDS_MAX: u64 = 3_600;

fn canary(harm: Harm) -> Change {
    Change::of_canary(harm, Begins::AtSecond(0.0))
}

/// What makes a failure rate another one, for all callers alike.
const fn from_to(from: f64, to: f64) -> Harm {
    Harm::Fails((to - from) / (1.0 - from))
}

pub(crate) fn late(runs: Runs) -> Table {
    const ONSET: u64 = 900;
    let mut table = Table::new("Regressions that begin after 15 minutes, in 10 s ticks");
    let heavy = worlds::callers_of(60, Activity::FewHeavy);
    for (what, scene, points, percent, seed) in [
        (
            "+3 points, 500 callers, 25 %",
            worlds::callers(500),
            0.03,
            25.0,
            25_000,
        ),
        (
            "+5 points, 60 callers, a few very heavy, 50 %",
            heavy,
            0.05,
            50.0,
            26_000,
        ),
    ] {
        let change = Change::of_canary(Harm::Fails(points), Begins::AtSecond(ONSET as f64));
        let scene = with(scene, &[change]);
        let course = fixed(&[percent], ONSET + 1_800);
        let (mut found, mut delays) = (Count::default(), Vec::new());
        for seed in runs.seeds(seed, 40) {
            let second = run(&course, &scene, seed)
                .rolled_back
                .map(|found| found.second);
            let delay = second.and_then(|second| second.checked_sub(ONSET));
            found.add(delay.is_some());
            delays.push(delay.map_or(f64::INFINITY, |delay| delay as f64));
        }
        table.add(Row {
            what: what.to_owned(),
            wanted: "40 of 40, 20 to 30 s after onset".to_owned(),
            measured: format!("{found}, {} s after onset", median(delays)),
            seed,
        });
    }
    table
}

pub(crate) fn callers(runs: Runs) -> Table {
    let worse = ("failures .5 -> 5.5 %", canary(from_to(0.005, 0.055)));
    let slower = ("latency x1.3", canary(Harm::Slower(1.3)));
    let cells = [
        (worse, 20_000, 1.0, "348"),
        (worse, 20_000, 5.0, "58"),
        (worse, 20_000, 50.0, "17"),
        (worse, 2_000, 5.0, "72"),
        (worse, 2_000, 50.0, "18"),
        (worse, 200, 50.0, "22"),
        (slower, 20_000, 1.0, ".33 within 900 s"),
        (slower, 20_000, 5.0, "164"),
        (slower, 20_000, 50.0, "40"),
        (slower, 2_000, 5.0, "501"),
        (slower, 2_000, 50.0, "50"),
        (slower, 200, 50.0, ".2 within 600 s"),
    ];
    let mut table =
        Table::new("Median seconds until harm is found in callers, 200 requests/s, 1 s ticks");
    for (place, ((what, change), callers, percent, wanted)) in (0..).zip(cells) {
        let scene = with(worlds::callers(callers), &[change]);
        let first = 60_000 + 100 * place;
        let mut seconds = Vec::new();
        for seed in runs.seeds(first, 60) {
            let found = run(&constant(percent, SECONDS_MAX), &scene, seed).rolled_back;
            seconds.push(found.map_or(f64::INFINITY, |found| found.second as f64));
        }
        let within = |max: f64| {
            let mut count = Count::default();
            seconds.iter().for_each(|second| count.add(*second <= max));
            count.share()
        };
        let shares = format!(
            "{:.2} within 600 s, {:.2} within 900 s",
            within(600.0),
            within(900.0)
        );
        table.add(Row {
            what: format!("{what}, {callers} callers, {percent} %"),
            wanted: wanted.to_owned(),
            measured: format!("{:.0} ({shares})", median(seconds)),
            seed: first,
        });
    }
    table
}

/// What is wrong, stable's failure rate, and the median that is wanted at 1, 5 and 50 %.
type Wanted = (&'static str, f64, Harm, [f64; 3]);

#[rustfmt::skip]
const IN_REQUESTS: [Wanted; 8] = [
    ("errors .1 -> .5 %", 0.001, from_to(0.001, 0.005), [5_373.0, 5_603.0, 17_000.0]),
    ("errors 1 -> 2 %", 0.01, from_to(0.01, 0.02), [4_809.0, 5_942.0, 18_100.0]),
    ("errors 1 -> 5 %", 0.01, from_to(0.01, 0.05), [555.0, 1_027.0, 6_319.0]),
    ("errors .5 -> 100 %", 0.005, Harm::Fails(1.0), [110.0, 549.0, 5_506.0]),
    ("median +10 %", 0.005, Harm::Slower(1.1), [4_372.0, 5_252.0, 23_500.0]),
    ("all x1.2", 0.005, Harm::Slower(1.2), [750.0, 1_383.0, 8_393.0]),
    ("p99 x1.5", 0.005, Harm::TailSlower(1.5), [1_911.0, 2_631.0, 9_543.0]),
    ("p99 x2", 0.005, Harm::TailSlower(2.0), [943.0, 1_522.0, 7_571.0]),
];

pub(crate) fn requests(runs: Runs) -> Table {
    let mut table =
        Table::new("Median canary requests until harm is found, 1,000 requests/s, 1 s ticks");
    for (place, (what, failures, harm, wanted)) in (0..).zip(IN_REQUESTS) {
        for (stage, (percent, wanted)) in (0..).zip([1.0, 5.0, 50.0].into_iter().zip(wanted)) {
            let mut scene = with(failing(worlds::requests(), failures), &[canary(harm)]);
            scene.crowd.rate = 1_000.0;
            let first = 90_000 + 1_000 * place + 300 * stage;
            let what = format!("{what}, {percent} %");
            table.add(until_found(&what, scene, (percent, wanted), runs, first));
        }
    }
    table
}

fn until_found(
    what: &str,
    scene: Scene,
    (percent, wanted): (f64, f64),
    runs: Runs,
    first: u64,
) -> Row {
    let mut requests = Vec::new();
    for seed in runs.seeds(first, 200) {
        let outcome = run(&constant(percent, SECONDS_MAX), &scene, seed);
        let is_found = outcome.rolled_back.is_some();
        requests.push(if is_found {
            outcome.canary_requests as f64
        } else {
            f64::INFINITY
        });
    }
    let measured = median(requests);
    Row {
        what: what.to_owned(),
        wanted: format!("{wanted:.0}"),
        measured: format!(
            "{measured:.0} ({:+.0} %)",
            100.0 * (measured / wanted - 1.0)
        ),
        seed: first,
    }
}
