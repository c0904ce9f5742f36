//! One line of a trace: the counts of a tick.

use serde::Deserialize;

use crate::domain::judge::sequential::{
    ArmTick, CallerStart, Check, FirstEvents, SequentialSettings, StratumTick, Tick,
};
use crate::domain::judge::trace::{is_by_caller, problem_of};
use crate::domain::stats::bucket_counts::BUCKET_MAX;
use crate::domain::stats::intervals::Share;
use crate::domain::variant::PerVariant;

/// The largest count that an `f64` holds exactly.
const COUNT_MAX: u64 = 1 << 53;

#[derive(Deserialize)]
struct Record {
    t: i64,
    stage: i64,
    exposed: (f64, Option<f64>),
    #[serde(default)]
    starts: Vec<(u64, usize)>,
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    w: f64,
    c: Arm,
    s: Arm,
}

#[derive(Deserialize)]
struct Arm {
    n: u64,
    err: u64,
    #[serde(default)]
    e4: u64,
    #[serde(default)]
    h: Vec<(i32, u64)>,
    #[serde(default)]
    z: Vec<(i32, u64)>,
    /// Content types by number; the recorder's own addition to the format.
    #[serde(default)]
    ctype: Vec<(i32, u64)>,
    #[serde(default)]
    fb: [u64; 5],
    new: Option<u64>,
    #[serde(default)]
    seen: u64,
    #[serde(default)]
    first: Vec<Firsts>,
}

/// Callers at risk and first events of one start. A check whose cut is unknown is left out.
#[derive(Deserialize)]
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
        starts,
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
        group: place,
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
