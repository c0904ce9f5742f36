//! How numbers, times, tables and rollouts are put for people.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdout};
use std::time::{Duration, UNIX_EPOCH};

use crate::control::status::{RolloutStatus, WeightsStatus};
use crate::domain::ids::VariantName;
use crate::domain::judge::{Action, Assessment};
use crate::domain::rollout::{GroupTakenBack, JournalEntry};
use crate::runtime::clock;

/// A span of time in its two largest units: `2 h 5 min`.
pub(crate) fn span(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let whole = duration.as_secs();
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, seconds) = (whole / 60 % 60, whole % 60);
    let both = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => both(minutes, "min", seconds, "s"),
        (0, _, _) => both(hours, "h", minutes, "min"),
        _ => both(days, "d", hours, "h"),
    }
}

/// A moment, in UTC and from now: `2026-01-31T08:00:00Z (3 min ago)`.
pub(crate) fn moment(at_unix_ms: u64) -> String {
    let at = Duration::from_millis(at_unix_ms);
    format!("{} ({})", date(at), ago(at, clock::wall()))
}

/// A moment in UTC, to the second (RFC 3339).
pub(crate) fn date(since_1970: Duration) -> String {
    /// The last moment of the year 9999, which is the last that the format can say.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since_1970.min(LAST)).to_string()
}

/// How long ago a moment was, in its largest unit.
fn ago(at: Duration, now: Duration) -> String {
    let Some(passed) = now.checked_sub(at) else {
        return "in the future".to_owned();
    };
    match passed.as_secs() {
        0 => "just now".to_owned(),
        seconds @ 1..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

/// A percentage without needless digits.
pub(crate) fn percent(percent: f64) -> String {
    format!("{percent}%")
}

/// The variants that some get: `on 20%, blue 5%`, or `0%`.
pub(crate) fn split(parts: &BTreeMap<VariantName, f64>) -> String {
    let given = parts.iter().filter(|(_, share)| **share > 0.0);
    let given: Vec<_> = given
        .map(|(name, share)| format!("{name} {}", percent(*share)))
        .collect();
    if given.is_empty() {
        percent(0.0)
    } else {
        given.join(", ")
    }
}

/// Who gets canary now: `5%`, or `5%, internal 100%`, or `100% less 1% for comparison`.
pub(crate) fn weights(weights: &WeightsStatus) -> String {
    if !weights.default_split.is_empty() {
        return split_weights(weights);
    }
    let everyone = weights.default_percent;
    let differs = |percent: f64| (percent - everyone).abs() > f64::EPSILON;
    let groups = weights.groups.iter().filter(|group| differs(group.percent));
    let groups = groups.map(|group| format!(", {} {}", group.group, percent(group.percent)));
    let control = weights.control_percent;
    let control = control.map(|kept| format!(" less {} for comparison", percent(kept)));
    percent(everyone) + &control.unwrap_or_default() + &groups.collect::<String>()
}

/// Where there are several variants: `on 20%, blue 5%; beta on 100%`.
fn split_weights(weights: &WeightsStatus) -> String {
    let groups = weights.groups.iter();
    let groups = groups.map(|group| format!("; {} {}", group.group, split(&group.split)));
    split(&weights.default_split) + &groups.collect::<String>()
}

/// Why a rollout is where it is, or what it waits for.
pub(crate) fn why(rollout: &RolloutStatus) -> String {
    let mut parts = Vec::new();
    if !rollout.enabled {
        parts.push("the flag is off, so everyone gets stable".to_owned());
    }
    parts.extend(rollout.reason.clone());
    let taken = rollout.rolled_back_groups.iter();
    parts.extend(taken.map(|taken| {
        let GroupTakenBack { group, reason } = taken;
        format!("group `{group}` was rolled back: {reason}")
    }));
    if let Some(blocked) = &rollout.blocked {
        parts.push(format!("would go on, but {blocked}"));
    } else if matches!(rollout.phase.as_str(), "progressing" | "watching") {
        parts.push(progress(rollout));
        parts.extend(waits_for(rollout));
    }
    if rollout.phase == "rolling_back" {
        let flag = &rollout.flag;
        parts.push(format!(
            "`serin rollout rollback {flag}` once more takes it to 0 at once"
        ));
    }
    if rollout.phase == "waiting_for_gate" {
        let flag = &rollout.flag;
        parts.push(format!("`serin rollout promote {flag}` goes on without it"));
    }
    if rollout.phase == "waiting_for_approval" {
        let flag = &rollout.flag;
        parts.push(format!(
            "`serin rollout promote {flag}` approves the next stage"
        ));
    }
    parts.join("; ")
}

/// What a stage waits for: data, or what else keeps it that has lasted long enough and seen enough; or what it
/// would do and just observes.
fn waits_for(rollout: &RolloutStatus) -> Option<String> {
    let of = |wanted: Assessment| {
        let mut findings = rollout.findings.iter();
        findings.find(|finding| finding.assessment == wanted)
    };
    let is_over = rollout.seconds_in_stage >= rollout.hold_seconds
        && rollout.counted_requests.canary >= rollout.min_requests;
    if let Some(breach) = of(Assessment::Breach) {
        return Some(format!("would roll back, for {}", breach.reason));
    }
    if let Some(waiting) = &rollout.waiting_for {
        return Some(waiting.says.clone());
    }
    if rollout.phase != "progressing" || !is_over || rollout.action != Action::Hold {
        return None;
    }
    let open = of(Assessment::Unmet)
        .or_else(|| of(Assessment::NeedsData))
        .or_else(|| of(Assessment::Undecided))?;
    Some(format!("waits for {}: {}", open.check, open.reason))
}

/// How far a stage or the watch is.
pub(crate) fn progress(rollout: &RolloutStatus) -> String {
    let time = format!(
        "{} of {}",
        span(rollout.seconds_in_stage),
        span(rollout.hold_seconds)
    );
    let seen = rollout.counted_requests.canary;
    if rollout.phase == "progressing" {
        format!("{time}, {seen} of {} requests", rollout.min_requests)
    } else {
        format!("{time}, {seen} requests")
    }
}

/// One line about where a rollout is.
pub(crate) fn line(rollout: &RolloutStatus, paint: Paint) -> String {
    let why = why(rollout);
    let because = if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    };
    format!(
        "{}: {}, stage {} of {}, canary {}{because}",
        rollout.flag,
        paint.phase(&rollout.phase, 0),
        rollout.stage,
        rollout.stages,
        weights(&rollout.weights),
    )
}

/// Says that something is done which a restart would undo.
pub(crate) fn warn_unwritten(is_written: bool) {
    if !is_written {
        eprintln!("{UNWRITTEN}");
    }
}

/// What there is to know of something that is not written.
pub(crate) const UNWRITTEN: &str =
    "done, and not on the disk yet: it is tried again each second, and a restart before undoes it";

/// Who, what and why.
pub(crate) fn journal_entry(entry: &JournalEntry) -> String {
    let JournalEntry { who, what, why, .. } = entry;
    if why.is_empty() {
        format!("{who}: {what}")
    } else {
        format!("{who}: {what}: {why}")
    }
}

/// Whether there are colours.
#[derive(Clone, Copy)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    /// Colours where a person looks at a terminal, unless `NO_COLOR` is set (no-color.org).
    pub(crate) fn of_stdout() -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            is_on: stdout().is_terminal() && !is_refused,
        }
    }

    /// A phase, padded to a width.
    pub(crate) fn phase(self, phase: &str, width: usize) -> String {
        let color = match phase {
            "succeeded" => 32,
            "rolling_back" | "rolled_back" | "aborted" => 31,
            "paused" | "waiting_for_approval" | "waiting_for_gate" => 33,
            _ => 0,
        };
        self.with(color, &format!("{phase:width$}"))
    }

    /// A status of HTTP.
    pub(crate) fn status(self, status: u16) -> String {
        let color = match status {
            500.. => 31,
            400.. => 33,
            _ => 32,
        };
        self.with(color, &status.to_string())
    }

    /// No colours.
    pub(crate) const fn plain() -> Self {
        Self { is_on: false }
    }

    /// Something that must not be overlooked.
    pub(crate) fn alarm(self, text: &str) -> String {
        self.with(31, text)
    }

    fn with(self, color: u8, text: &str) -> String {
        if self.is_on && color != 0 {
            format!("\u{1b}[{color}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Lines of cells in columns of equal width, but for the last. Cells of the first line are its
/// titles; `paint` may colour a padded cell.
pub(crate) fn table(rows: &[Vec<String>], paint: impl Fn(usize, &str) -> String) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let render = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let padded = format!("{cell:0$}", widths[column]);
            paint(column, &padded)
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    rows.iter().map(render).collect()
}

/// Prints a table with its titles, or what to say instead where there are no rows.
pub(crate) fn print_table<const COLUMNS: usize>(
    titles: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
    instead: &str,
) {
    let mut lines = vec![titles.map(str::to_owned).to_vec()];
    lines.extend(rows.into_iter().map(Vec::from));
    if lines.len() == 1 {
        println!("{instead}");
        return;
    }
    let lines = table(&lines, |_, cell| cell.to_owned());
    lines.iter().for_each(|line| println!("{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_put_in_few_words() {
        for (seconds, words) in [
            (0.4, "0 s"),
            (59.9, "59 s"),
            (60.0, "1 min"),
            (61.0, "1 min 1 s"),
            (7_500.0, "2 h 5 min"),
            (90_000.0, "1 d 1 h"),
            (-1.0, "0 s"),
            (f64::INFINITY, "0 s"),
        ] {
            assert_eq!(span(seconds), words);
        }
        let at = Duration::from_secs(1_700_000_000);
        assert_eq!(date(at), "2023-11-14T22:13:20Z");
        assert_eq!(
            date(Duration::from_millis(u64::MAX)),
            "9999-12-31T23:59:59Z"
        );
        for (passed, words) in [
            (0, "just now"),
            (59, "59 s ago"),
            (200, "3 min ago"),
            (7_200, "2 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(ago(at, at + Duration::from_secs(passed)), words);
        }
        assert_eq!(ago(at, Duration::ZERO), "in the future");
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["FLAG", "PHASE", "WHY"]), row(["größe", "x", ""])];
        let plain = |_: usize, cell: &str| cell.to_owned();
        assert_eq!(table(&rows, plain), ["FLAG   PHASE  WHY", "größe  x"]);
    }
}
