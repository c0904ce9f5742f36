//! Phases, numbers and times in few words.

use crate::control::status::{RolloutStatus, StageStatus};

use super::line::{Line, Tone};

/// A share of 0 to 1, as percent.
pub(crate) fn share(share: f64) -> String {
    match share * 100.0 {
        percent if percent <= 0.0 => "0 %".to_owned(),
        percent if percent < 0.995 => format!("{percent:.2} %"),
        percent if percent < 9.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// A weight in percent.
pub(crate) fn percent(percent: f64) -> String {
    let text = format!("{percent:.2}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    format!("{short} %")
}

/// Milliseconds, or seconds where these are many.
pub(crate) fn milliseconds(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 9_999.5 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1e3),
    }
}

/// A time, as people say it.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds.max(0.0) {
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.0} h", seconds / 3_600.0),
    }
}

/// Whom a stage is for and how many of them it gives canary, as `beta 20 %`.
pub(crate) fn stage(stage: &StageStatus) -> String {
    let groups = stage.groups.iter().map(|group| format!("{group} "));
    format!("{}{}", groups.collect::<String>(), percent(stage.percent))
}

fn promoted(rollout: &RolloutStatus) -> String {
    let taken = rollout.rolled_back_groups.iter();
    let back: Vec<_> = taken.map(|taken| taken.group.as_str()).collect();
    if back.is_empty() {
        "PROMOTED: everyone has canary".to_owned()
    } else {
        format!("PROMOTED: everyone but {} has canary", back.join(", "))
    }
}

/// What is going on.
pub(crate) fn phase(rollout: &RolloutStatus) -> Line {
    let place = format!("stage {} of {}", rollout.stage, rollout.stages);
    let reason = rollout.reason.as_deref().unwrap_or("no reason given");
    match rollout.phase.as_str() {
        "waiting" => Line::of(Tone::Doubtful, format!("waiting: {reason}")),
        "progressing" => Line::of(Tone::Canary, format!("{place}: canary is on trial")),
        "waiting_for_approval" => Line::of(
            Tone::Doubtful,
            format!("{place} has passed: waits for approval"),
        ),
        "waiting_for_gate" => Line::of(Tone::Doubtful, format!("{place} has passed: {reason}")),
        "paused" => Line::of(Tone::Doubtful, format!("paused in {place}: {reason}")),
        "watching" => Line::of(Tone::Canary, "all stages passed: still being watched"),
        "succeeded" => Line::of(Tone::Good, promoted(rollout)),
        "rolling_back" => Line::of(Tone::Bad, format!("going back, {place}: {reason}")),
        "rolled_back" => Line::of(Tone::Bad, "ROLLED BACK: nobody has canary"),
        "aborted" => Line::of(Tone::Bad, format!("given up: {reason}")),
        other => Line::of(Tone::Plain, other),
    }
}
