//! The worlds in which the judge is measured, and the courses through them.

use std::sync::atomic::{AtomicBool, Ordering};

use serin::domain::judge::JudgeSettings;
use serin::domain::judge::sequential::SequentialSettings;
use serin::domain::weight::Weight;
use serin::simulator::course::{Course, Outcome, Pace};
use serin::simulator::scene::{Change, Harm, Scene};
use serin::simulator::{Activity, Crowd};

/// The stages of a usual plan, in percent.
pub(crate) const STAGES: [f64; 4] = [1.0, 5.0, 25.0, 50.0];

/// Requests a second where nothing else is said.
const RATE: f64 = 200.0;

/// Callers of unequal habit: the n-th busiest asks 1/n as often as the busiest.
pub(crate) fn callers(callers: u32) -> Scene {
    callers_of(callers, Activity::ByRank)
}

pub(crate) fn callers_of(callers: u32, activity: Activity) -> Scene {
    Scene::of_callers(Crowd {
        callers,
        rate: RATE,
        activity,
    })
}

/// Requests that are each drawn anew.
pub(crate) fn requests() -> Scene {
    Scene::of_requests(RATE)
}

/// With another failure rate.
pub(crate) fn failing(mut scene: Scene, failures: f64) -> Scene {
    scene.service.failures = failures;
    scene
}

/// With something that changes.
pub(crate) fn with(mut scene: Scene, changes: &[Change]) -> Scene {
    scene.changes.extend(changes);
    scene
}

/// Both arms fail two in five requests and take three times as long, for so many seconds.
pub(crate) fn outage(from_second: f64, seconds: f64) -> [Change; 2] {
    [Harm::Fails(0.4), Harm::Slower(3.0)].map(|harm| Change::of_both(harm, from_second, seconds))
}

pub(crate) fn weight(percent: f64) -> Weight {
    let basis_points = format!("{:.0}", percent * 100.0).parse().ok();
    basis_points
        .and_then(Weight::from_basis_points)
        .unwrap_or(Weight::FULL)
}

/// Stages that last so long whatever the verdict, in ticks of ten seconds.
pub(crate) fn fixed(percents: &[f64], seconds: u64) -> Course {
    Course {
        weights: percents.iter().map(|percent| weight(*percent)).collect(),
        pace: Pace::Fixed(seconds),
        seconds_per_tick: 10,
    }
}

/// The usual stages as fast as the judge lets them pass.
pub(crate) fn promoted(seconds_max: u64) -> Course {
    Course {
        pace: Pace::Promoted(seconds_max),
        ..fixed(&STAGES, 0)
    }
}

/// One weight all the time, in ticks of a second.
pub(crate) fn constant(percent: f64, seconds: u64) -> Course {
    Course {
        seconds_per_tick: 1,
        ..fixed(&[percent], seconds)
    }
}

/// Whether the settings are those of `serin serve`.
static AS_SERVED: AtomicBool = AtomicBool::new(false);

/// Judges with the settings of `serin serve` from now on.
pub(crate) fn judge_as_served() {
    AS_SERVED.store(true, Ordering::Relaxed);
}

/// Runs a course, as a rule with the settings that the method was measured with.
pub(crate) fn run(course: &Course, scene: &Scene, seed: u64) -> Outcome {
    let settings = match AS_SERVED.load(Ordering::Relaxed) {
        true => JudgeSettings::default().sequential(),
        false => SequentialSettings::default(),
    };
    course.run(scene.clone(), settings, seed)
}
