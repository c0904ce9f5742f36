//! One rollout as lines: where it is, who gets canary, how both arms do, and what the judge says.

use std::iter::{once, repeat};

use crate::cli::feedback::rated;
use crate::control::ratings::FeedbackStatus;
use crate::control::status::{ArmStatus, RolloutStatus};
use crate::domain::variant::{PerVariant, Variant};

use super::bars::{bar, sparkline};
use super::line::{Line, Tone};
use super::trail::{SECONDS, Seconds};
use super::{findings, words};

/// The smallest number of lines that says something.
pub(crate) const LINES_MIN: usize = 11;

/// Findings that are shown before anything else gets the room.
const FINDINGS_MIN: usize = 3;

/// Weights of groups that are shown.
const GROUPS_MAX: usize = 4;

/// Lines that a reason may take.
const REASON_LINES_MAX: usize = 2;

/// Columns of a bar that shows what a stage still needs.
const NEED_BAR: usize = 10;

/// The least that a picture of failures reaches up to, so that one failure of a quiet second does
/// not look like an outage.
const FAILURES_TOP_MIN: f64 = 0.1;

/// What there is to show of a rollout.
pub(crate) struct Panel<'a> {
    pub(crate) rollout: &'a RolloutStatus,
    pub(crate) seconds: &'a Seconds,
    /// The wall clock, in milliseconds since 1970: how long ago things happened.
    pub(crate) now_unix_ms: u64,
    pub(crate) columns: usize,
    pub(crate) lines: usize,
}

impl Panel<'_> {
    /// As many lines as asked for, none wider than there are columns.
    pub(crate) fn draw(&self) -> Vec<Line> {
        let rollout = self.rollout;
        let mut lines = vec![self.title(), self.stages()];
        lines.extend(self.weights());
        lines.extend(self.arms());
        lines.extend(self.ratings());
        lines.extend(self.needs());
        let found = rollout.findings.len();
        let room = self.lines.saturating_sub(lines.len());
        // The last event is worth more than a finding that all is well.
        let most = FINDINGS_MIN.max(room / 2).min(room.saturating_sub(1));
        lines.extend(findings::lines(&rollout.findings, most.min(found)));
        if found == 0 {
            lines.push(Line::of(Tone::Dim, "  nothing is judged at the moment"));
        }
        lines.extend(self.events(self.lines.saturating_sub(lines.len())));
        if self.lines > LINES_MIN {
            // Room to tell one from the next.
            lines.truncate(self.lines - 1);
        }
        lines.resize(self.lines, Line::default());
        let clip = |line: Line| line.clipped(self.columns);
        lines.into_iter().map(clip).collect()
    }

    fn title(&self) -> Line {
        let rollout = self.rollout;
        let (stable, canary) = (&rollout.stable, &rollout.canary);
        let name = Line::of(Tone::Strong, format!("▌{}", rollout.flag));
        let revision = Line::of(Tone::Plain, format!("  {}", rollout.revision));
        let backends = Line::of(Tone::Stable, format!("  {stable}"))
            .and(Tone::Plain, " → ")
            .and(Tone::Canary, canary.to_string());
        let phase = Line::of(Tone::Plain, "  ").then(words::phase(rollout));
        let full = name
            .clone()
            .then(revision)
            .then(backends)
            .then(phase.clone());
        if full.width() <= self.columns {
            full
        } else {
            name.then(phase)
        }
    }

    /// All stages: those passed, the one under way, those to come.
    fn stages(&self) -> Line {
        let rollout = self.rollout;
        let names = rollout.plan.iter().map(words::stage);
        let names: Vec<_> = names
            .chain(["watch".to_owned(), "done".to_owned()])
            .collect();
        let (at, mark, tone) = match rollout.phase.as_str() {
            "waiting" => (0, '○', Tone::Dim),
            "rolled_back" | "aborted" => (rollout.stage - 1, '✘', Tone::Bad),
            "watching" => (rollout.stages, '●', Tone::Canary),
            "succeeded" => (rollout.stages + 1, '✔', Tone::Good),
            _ => (rollout.stage - 1, '●', Tone::Canary),
        };
        let join = |between: &str, show: &dyn Fn(usize) -> bool| {
            let mut line = Line::of(Tone::Plain, "  ");
            for (place, name) in names.iter().enumerate() {
                let (mark, tone) = match place {
                    place if place < at => ('✔', Tone::Good),
                    place if place == at => (mark, tone),
                    _ => ('○', Tone::Dim),
                };
                if place > 0 {
                    line = line.and(Tone::Dim, between);
                }
                let text = match show(place) {
                    true => format!("{mark} {name}"),
                    false => mark.to_string(),
                };
                line = line.and(tone, text);
            }
            line
        };
        let everything = join(" ─── ", &|_| true);
        if everything.width() <= self.columns {
            return everything;
        }
        join(" ", &|place| place == at)
    }

    /// How callers rate both arms, once any has.
    fn ratings(&self) -> Option<Line> {
        let FeedbackStatus(arms) = self.rollout.feedback.as_ref()?;
        let has_any = arms.canary.raters + arms.stable.raters > 0;
        has_any.then(|| {
            let (stable, canary) = (rated(&arms.stable), rated(&arms.canary));
            Line::of(Tone::Plain, "  rated    ")
                .and(Tone::Stable, format!("stable {stable}"))
                .and(Tone::Plain, "  ")
                .and(Tone::Canary, format!("canary {canary}"))
        })
    }

    /// Who gets canary: everyone, and each group that has a weight of its own.
    fn weights(&self) -> Vec<Line> {
        let weights = &self.rollout.weights;
        let groups = weights.groups.iter().take(GROUPS_MAX);
        let groups = groups.map(|entry| (entry.group.as_str(), entry.percent));
        let default = match weights.groups.is_empty() {
            true => "everyone",
            false => "others",
        };
        let label = |who: &str| format!("  {who:<9}");
        let line = |(who, percent): (&str, f64)| {
            let columns = self
                .columns
                .saturating_sub(label(who).len() + 16)
                .clamp(10, 60);
            let (canary, stable) = bar(percent / 100.0, columns);
            Line::of(Tone::Plain, label(who))
                .and(Tone::Canary, canary)
                .and(Tone::Stable, stable)
                .and(Tone::Canary, format!(" canary {}", words::percent(percent)))
        };
        groups
            .chain([(default, weights.default_percent)])
            .map(line)
            .collect()
    }

    /// How both arms do: in numbers since the stage began, in pictures over half a minute.
    fn arms(&self) -> [Line; 3] {
        let left = self.columns.saturating_sub(41) / 2;
        let columns = if left > SECONDS { SECONDS } else { SECONDS / 2 };
        let of = |series: &dyn Fn(Variant) -> Vec<Option<f64>>| PerVariant::from_fn(series);
        let failures = of(&|variant| self.seconds.failures(variant, columns));
        let p99 = of(&|variant| self.seconds.p99_ms(variant, columns));
        let failures_top = top(&failures).max(FAILURES_TOP_MIN);
        let p99_top = top(&p99);
        let heading = format!(
            "  {:<9}{:>6}{:>8}{:>8}{:>8}  {:<columns$} {:<columns$}",
            "",
            "req/s",
            "failed",
            "p50",
            "p99",
            format!(
                "failed 0-{}",
                words::percent((failures_top * 100.0).round())
            ),
            match p99_top > 0.0 {
                true => format!("p99 0-{}", words::milliseconds(Some(p99_top.round()))),
                false => "p99".to_owned(),
            },
        );
        let row = |variant: Variant, tone| {
            let (arm, now) = (
                self.rollout.arms.get(variant),
                self.rollout.last_tick.get(variant),
            );
            Line::of(tone, format!("  {:<9}", variant.as_str()))
                .and(Tone::Plain, numbers(arm, now))
                .and(
                    tone,
                    format!("  {}", sparkline(failures.get(variant), failures_top)),
                )
                .and(tone, format!(" {}", sparkline(p99.get(variant), p99_top)))
        };
        [
            Line::of(Tone::Dim, heading),
            row(Variant::Stable, Tone::Stable),
            row(Variant::Canary, Tone::Canary),
        ]
    }

    /// What the stage still needs to go on, or why it does not.
    fn needs(&self) -> Vec<Line> {
        let rollout = self.rollout;
        let explained = |tone, label: &str, why: &str| {
            let columns = self.columns.saturating_sub(label.len());
            let lines = Line::wrapped(tone, why, columns, REASON_LINES_MAX);
            let labels = once(label).chain(repeat(""));
            let width = label.len();
            let line = |(label, line)| Line::of(tone, format!("{label:<width$}")).then(line);
            labels.zip(lines).map(line).collect()
        };
        if let Some(blocked) = &rollout.blocked {
            return explained(Tone::Doubtful, "  held:    ", blocked);
        }
        let hold = rollout.hold_seconds;
        let time = format!(
            "{} of {}",
            words::duration(rollout.seconds_in_stage.floor()),
            words::duration(hold)
        );
        let time = need("time", rollout.seconds_in_stage / hold.max(1.0), &time);
        let (has, wants) = (rollout.counted_requests.canary, rollout.min_requests);
        match rollout.phase.as_str() {
            "progressing" => {
                let requests = format!("{has} of {wants}");
                let share = has as f64 / wants.max(1) as f64;
                let both = time
                    .and(Tone::Plain, "   ")
                    .then(need("requests", share, &requests));
                vec![Line::of(Tone::Plain, "  to go on ").then(both)]
            }
            "watching" => vec![Line::of(Tone::Plain, "  to end   ").then(time)],
            "rolled_back" => {
                let reason = rollout.reason.as_deref().unwrap_or_default();
                explained(Tone::Bad, "  because  ", reason)
            }
            _ => vec![Line::default()],
        }
    }

    /// What happened last, newest first.
    fn events(&self, lines_max: usize) -> Vec<Line> {
        let events = self.rollout.journal.iter().take(lines_max);
        events
            .map(|event| {
                let ago_ms = self.now_unix_ms.saturating_sub(event.at_unix_ms);
                let ago = words::duration((ago_ms / 1000) as f64);
                Line::of(Tone::Dim, format!("  {ago:>5} ago  "))
                    .and(Tone::Strong, event.entry.what.clone())
                    .and(Tone::Plain, format!(": {}", event.entry.why))
            })
            .collect()
    }
}

fn numbers(arm: &ArmStatus, now: &ArmStatus) -> String {
    let failed = match arm.requests {
        0 => "-".to_owned(),
        _ => words::share(arm.error_rate),
    };
    format!(
        "{:>6}{failed:>8}{:>8}{:>8}",
        now.requests,
        words::milliseconds(arm.latency_p50_ms),
        words::milliseconds(arm.latency_p99_ms),
    )
}

fn need(what: &str, share: f64, text: &str) -> Line {
    let (filled, rest) = bar(share, NEED_BAR);
    Line::of(Tone::Plain, format!("{what} "))
        .and(Tone::Good, filled)
        .and(Tone::Dim, rest)
        .and(Tone::Plain, format!(" {text}"))
}

/// The largest number of both arms.
fn top(arms: &PerVariant<Vec<Option<f64>>>) -> f64 {
    let numbers = arms.stable.iter().chain(&arms.canary).copied().flatten();
    numbers.fold(0.0, f64::max)
}
