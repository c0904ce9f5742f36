//! How often is a rollout rolled back although canary does nothing wrong?
//!
//! The stages go by whatever the verdict, so that each run has all its looks.

use serin::simulator::Activity;
use serin::simulator::course::Course;
use serin::simulator::scene::{Change, Differences, Harm, Load, Scene};

use crate::table::{Count, Row, Runs, Table};
use crate::worlds::{self, STAGES, fixed, run, with};

/// When incidents begin: in the second stage of four, and the longer ones last into the third.
const INCIDENT: f64 = 400.0;

/// What is wanted of most worlds.
const FEW: &str = "at most 1 %";

/// A world, and how often it is run through from which seed on.
struct Case {
    what: &'static str,
    scene: Scene,
    course: Course,
    wanted: &'static str,
    seed: u64,
    runs: u64,
}

impl Case {
    /// The usual four stages of five minutes.
    fn new(what: &'static str, scene: Scene, (seed, runs): (u64, u64)) -> Self {
        Self {
            what,
            scene,
            course: fixed(&STAGES, 300),
            wanted: FEW,
            seed,
            runs,
        }
    }

    fn wanted(self, wanted: &'static str) -> Self {
        Self { wanted, ..self }
    }

    fn each_second(mut self) -> Self {
        self.course.seconds_per_tick = 1;
        self
    }

    fn on(self, course: Course) -> Self {
        Self { course, ..self }
    }

    fn at(mut self, rate: f64) -> Self {
        self.scene.crowd.rate = rate;
        self
    }

    fn measure(&self, runs: Runs) -> Row {
        let mut count = Count::default();
        let mut checks = String::new();
        for seed in runs.seeds(self.seed, self.runs) {
            let rolled_back = run(&self.course, &self.scene, seed).rolled_back;
            count.add(rolled_back.is_some());
            if let Some(found) = rolled_back {
                checks += &format!(", {} at {} s", found.check.key(), found.second);
            }
        }
        Row {
            what: self.what.to_owned(),
            wanted: self.wanted.to_owned(),
            measured: format!("{count}{checks}"),
            seed: self.seed,
        }
    }
}

fn measure(title: &'static str, runs: Runs, cases: &[Case]) -> Table {
    let mut table = Table::new(title);
    cases.iter().for_each(|case| table.add(case.measure(runs)));
    table
}

fn wandering(scene: Scene) -> Scene {
    Scene {
        load: Load::Wandering,
        ..scene
    }
}

pub(crate) fn requests(runs: Runs) -> Table {
    let scene = worlds::requests;
    let in_outage = with(scene(), &worlds::outage(INCIDENT, 300.0));
    let cases = [
        Case::new("nothing wrong", scene(), (50_000, 1_000)),
        Case::new(
            "nothing wrong, 1,000 requests/s, 1 s ticks",
            scene(),
            (51_000, 500),
        )
        .at(1_000.0)
        .each_second(),
        Case::new(
            "both arms 40 % failures, x3 latency",
            in_outage,
            (52_000, 300),
        )
        .wanted("0 of 300"),
        Case::new("autocorrelated load", wandering(scene()), (53_000, 300)),
    ];
    measure("False rollbacks, each request drawn anew", runs, &cases)
}

pub(crate) fn callers(runs: Runs) -> Table {
    let by_rank = worlds::callers;
    let outage = |callers| with(by_rank(callers), &worlds::outage(INCIDENT, 300.0));
    let heavy = worlds::failing(worlds::callers_of(60, Activity::FewHeavy), 0.02);
    let equal = worlds::callers_of(3_000, Activity::Equal);
    let cases = [
        Case::new("60, a few very heavy, 2 % failures", heavy, (20_000, 800)),
        Case::new("500", by_rank(500), (21_000, 640)),
        Case::new("2,000", by_rank(2_000), (22_000, 600)),
        Case::new("3,000 equally active", equal, (23_000, 500)),
        Case::new("20,000", by_rank(20_000), (41_000, 500)),
        Case::new("500, stages of 30 minutes", by_rank(500), (24_000, 100))
            .on(fixed(&STAGES, 1_800)),
        Case::new("500, 50 requests/s, 1 s ticks", by_rank(500), (40_000, 120))
            .at(50.0)
            .each_second(),
        Case::new(
            "autocorrelated load, 1,000",
            wandering(by_rank(1_000)),
            (43_000, 200),
        ),
        Case::new(
            "both arms 40 % failures, x3 latency, 2,000",
            outage(2_000),
            (30_000, 300),
        )
        .wanted("0 of 250"),
        Case::new("the same, 200", outage(200), (31_000, 120)).wanted("0 of 60"),
    ];
    measure(
        "False rollbacks by number of callers, nothing wrong with canary",
        runs,
        &cases,
    )
}

pub(crate) fn stable_alone(runs: Runs) -> Table {
    let fails = |scene, share, seconds| {
        with(
            scene,
            &[Change::of_stable(Harm::Fails(share), INCIDENT, seconds)],
        )
    };
    let one_stage = |percent| fixed(&[percent], 1_200);
    let mut equal = worlds::callers_of(2_000, Activity::Equal);
    equal.callers = Differences::default();
    let most = |what, percent, seed| {
        let scene = fails(worlds::callers(2_000), 0.8, 90.0);
        Case::new(what, scene, (seed, 40))
            .on(one_stage(percent))
            .wanted("0 of 40")
    };
    let cases = [
        most("80 % for 90 s, 5 % stage", 5.0, 34_000),
        most("80 % for 90 s, 50 % stage", 50.0, 72_000),
        Case::new(
            "50 % for 90 s, 50 % stage, equal callers",
            fails(equal, 0.5, 90.0),
            (35_000, 40),
        )
        .on(one_stage(50.0))
        .wanted("0 of 40"),
        Case::new(
            "5 % more for 5 minutes, 500 callers, 25 % stage",
            fails(worlds::callers(500), 0.05, 300.0),
            (36_000, 40),
        )
        .on(one_stage(25.0))
        .wanted("0 of 40"),
    ];
    measure("False rollbacks when stable alone fails", runs, &cases)
}
