//! One line of a trace: the counts of a tick.

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::{
    ArmTick, CallerStart, Check, FirstEvents, SequentialSettings, StratumTick, Tick,
};
use crate::domain::judge::trace::{is_by_caller, problem_of};
use crate::domain::stats::bucket_counts::BUCKET_MAX;
use crate::domain::stats::intervals::Share;
use crate::domain::variant::PerVariant;

/// The largest count that an `f64` holds exactly.
const COUNT_MAX: u64 = 1 << 53;

#[derive(Serialize, Deserialize)]
struct Record {
    t: i64,
    stage: i64,
    exposed: (f64, Option<f64>),
    /// Whether canary is still cold: a recorder's own addition, like all that may be left out below.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    warm_up: bool,
    /// Requests of canary that the stage takes at least, where that is not the header's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_n: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    starts: Vec<(u64, usize)>,
    /// The indexes of groups that canary was taken back from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left: Vec<usize>,
    groups: Vec<Group>,
}

#[derive(Serialize, Deserialize)]
struct Group {
    /// The group's index in the plan, if not its place in the line: a recorder's own addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    w: f64,
    c: Arm,
    s: Arm,
}

#[derive(Serialize, Deserialize)]
struct Arm {
    n: u64,
    err: u64,
    #[serde(default)]
    e4: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    h: Vec<(i32, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    z: Vec<(i32, u64)>,
    /// Content types by number; the recorder's own addition to the format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ctype: Vec<(i32, u64)>,
    #[serde(default)]
    fb: [u64; 5],
    /// Ratings that were changed; the recorder's own addition.
    #[serde(default, skip_serializing_if = "is_unchanged")]
    fb_changed: [i64; 5],
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<u64>,
    #[serde(default)]
    seen: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    first: Vec<Firsts>,
}

fn is_unchanged(ratings: &[i64; 5]) -> bool {
    *ratings == [0; 5]
}

/// Callers at risk and first events of one start. A check whose cut is unknown is left out.
#[derive(Serialize, Deserialize)]
struct Firsts {
    err: (u64, u64),
    #[serde(default)]
    c4: (u64, u64),
    #[serde(default)]
    p50: (u64, u64),
    #[serde(default)]
    p90: (u64, u64),
    #[serde(default)]
    p99: (u64, u64),
    #[serde(default)]
    size: (u64, u64),
    #[serde(default)]
    ctype: (u64, u64),
}

/// Reads a tick.
///
/// # Errors
///
/// What is wrong with it, and what would have been right.
pub(super) fn tick(line: &str, settings: &SequentialSettings) -> Result<Tick, String> {
    let record: Record = serde_json::from_str(line).map_err(|error| problem_of(&error))?;
    let is_by_caller = is_by_caller(settings);
    let starts = if is_by_caller {
        starts(&record.starts, settings.promotion.slots.len())?
    } else {
        Vec::new()
    };
    let mut strata = Vec::with_capacity(record.groups.len());
    for (place, group) in record.groups.into_iter().enumerate() {
        let named = |problem: String| format!("groups[{place}]{problem}");
        let stratum = stratum(place, group, is_by_caller.then_some(starts.len()));
        strata.push(stratum.map_err(named)?);
    }
    Ok(Tick {
        number: record.t,
        stage: record.stage,
        exposed: record.exposed.0,
        exposed_next: record.exposed.1,
        is_warm_up: record.warm_up,
        requests_min: record.min_n,
        starts,
        left: record.left,
        strata,
    })
}

fn starts(written: &[(u64, usize)], slots: usize) -> Result<Vec<CallerStart>, String> {
    let mut starts = Vec::<CallerStart>::with_capacity(written.len());
    for &(number, slot) in written {
        if number == 0 {
            return Err("starts has number 0, expected numbers from 1".into());
        }
        if slot >= slots {
            return Err(format!(
                "starts has slot {slot}, expected 0 to {}",
                slots - 1
            ));
        }
        if starts.iter().any(|start| start.number == number) {
            return Err(format!(
                "starts has number {number} twice, expected each once"
            ));
        }
        starts.push(CallerStart { number, slot });
    }
    Ok(starts)
}

/// `starts` is how many there are, where callers are the unit.
fn stratum(place: usize, group: Group, starts: Option<usize>) -> Result<StratumTick, String> {
    if !(0.0..=1.0).contains(&group.w) {
        return Err(format!(".w is {}, expected 0 to 1", group.w));
    }
    let starts = starts.filter(|_| 0.0 < group.w && group.w < 1.0);
    let in_arm = |arm: &'static str| move |problem: String| format!(".{arm}{problem}");
    Ok(StratumTick {
        group: group.group.unwrap_or(place),
        weight: group.w,
        arms: PerVariant {
            stable: arm(group.s, starts).map_err(in_arm("s"))?,
            canary: arm(group.c, starts).map_err(in_arm("c"))?,
        },
    })
}

fn arm(arm: Arm, starts: Option<usize>) -> Result<ArmTick, String> {
    for (name, pairs) in [("h", &arm.h), ("z", &arm.z), ("ctype", &arm.ctype)] {
        if let Some((bucket, _)) = pairs.iter().find(|(bucket, _)| bucket.abs() > BUCKET_MAX) {
            return Err(format!(
                ".{name} has bucket {bucket}, expected {} to {BUCKET_MAX}",
                -BUCKET_MAX
            ));
        }
        if let Some((_, count)) = pairs.iter().find(|(_, count)| *count > COUNT_MAX) {
            return Err(format!(
                ".{name} has a count of {count}, expected at most {COUNT_MAX}"
            ));
        }
    }
    for (name, count) in [("n", arm.n), ("err", arm.err), ("e4", arm.e4)] {
        if count > COUNT_MAX {
            return Err(format!(".{name} is {count}, expected at most {COUNT_MAX}"));
        }
    }
    if let Some(count) = arm.fb.iter().find(|count| **count > COUNT_MAX) {
        return Err(format!(
            ".fb has a count of {count}, expected at most {COUNT_MAX}"
        ));
    }
    if let Some(count) = arm.fb_changed.iter().find(|n| n.unsigned_abs() > COUNT_MAX) {
        return Err(format!(
            ".fb_changed has a count of {count}, expected at most {COUNT_MAX}"
        ));
    }
    if let Some(starts) = starts {
        if arm.new.is_none() {
            return Err(".new is missing, expected the callers never seen before".into());
        }
        if arm.first.len() < starts {
            let found = arm.first.len();
            return Err(format!(
                ".first has {found} entries, expected one for each of {starts} starts"
            ));
        }
    }
    Ok(ArmTick {
        requests: arm.n,
        failures: arm.err,
        client_errors: arm.e4,
        latency: arm.h,
        sizes: arm.z,
        content_types: arm.ctype,
        ratings: arm.fb,
        ratings_changed: arm.fb_changed,
        new_callers: arm.new.unwrap_or(0),
        stage_callers: arm.seen,
        firsts: arm.first.iter().map(Firsts::events).collect(),
    })
}

impl Firsts {
    fn events(&self) -> FirstEvents {
        let mut events = FirstEvents::default();
        let written = [
            (Check::Errors, self.err),
            (Check::ClientErrors, self.c4),
            (Check::P50, self.p50),
            (Check::P90, self.p90),
            (Check::P99, self.p99),
            (Check::Size, self.size),
            (Check::ContentType, self.ctype),
        ];
        for (check, (trials, first)) in written {
            if let Some(share) = events.of_mut(check) {
                *share = Share {
                    events: first,
                    trials,
                };
            }
        }
        events
    }
}

/// Writes a tick as a line, without its end.
pub(super) fn line(tick: &Tick) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Record {
        t: tick.number,
        stage: tick.stage,
        exposed: (tick.exposed, tick.exposed_next),
        warm_up: tick.is_warm_up,
        min_n: tick.requests_min,
        starts: tick
            .starts
            .iter()
            .map(|start| (start.number, start.slot))
            .collect(),
        left: tick.left.clone(),
        groups: tick.strata.iter().map(Group::from).collect(),
    })
}

impl From<&StratumTick> for Group {
    fn from(stratum: &StratumTick) -> Self {
        Self {
            group: Some(stratum.group),
            w: stratum.weight,
            c: Arm::from(&stratum.arms.canary),
            s: Arm::from(&stratum.arms.stable),
        }
    }
}

impl From<&ArmTick> for Arm {
    fn from(arm: &ArmTick) -> Self {
        Self {
            n: arm.requests,
            err: arm.failures,
            e4: arm.client_errors,
            h: arm.latency.clone(),
            z: arm.sizes.clone(),
            ctype: arm.content_types.clone(),
            fb: arm.ratings,
            fb_changed: arm.ratings_changed,
            new: Some(arm.new_callers),
            seen: arm.stage_callers,
            first: arm.firsts.iter().map(Firsts::from).collect(),
        }
    }
}

impl From<&FirstEvents> for Firsts {
    fn from(events: &FirstEvents) -> Self {
        let pair = |check| {
            let Share { events, trials } = events.of(check);
            (trials, events)
        };
        Self {
            err: pair(Check::Errors),
            c4: pair(Check::ClientErrors),
            p50: pair(Check::P50),
            p90: pair(Check::P90),
            p99: pair(Check::P99),
            size: pair(Check::Size),
            ctype: pair(Check::ContentType),
        }
    }
}
