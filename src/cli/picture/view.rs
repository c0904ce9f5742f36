//! The whole picture: a heading, each rollout, and what the words mean.

use crate::control::status::Status;

use super::line::{Line, Tone};
use super::rollout::{LINES_MIN, Panel};
use super::trail::Trail;

/// The most lines that a rollout gets, however large the terminal is.
const PANEL_LINES_MAX: usize = 15;

/// What a picture is drawn of.
pub(crate) struct View<'a> {
    /// The first line.
    pub(crate) heading: &'a str,
    /// Where the rollouts are.
    pub(crate) status: &'a Status,
    /// What they were like before.
    pub(crate) trail: &'a Trail,
    /// The wall clock, in milliseconds since 1970.
    pub(crate) now_unix_ms: u64,
}

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Columns of each line.
    pub(crate) columns: usize,
    /// Lines.
    pub(crate) lines: usize,
}

impl View<'_> {
    /// Draws it, with no line too wide and no more lines than the terminal has.
    pub(crate) fn draw(&self, size: Size) -> Vec<Line> {
        let rollouts = &self.status.rollouts;
        let room = size.lines.saturating_sub(2) / rollouts.len().max(1);
        let panel_lines = room.clamp(LINES_MIN, PANEL_LINES_MAX);
        let mut lines = vec![Line::of(Tone::Dim, self.heading)];
        for rollout in rollouts {
            let panel = Panel {
                rollout,
                seconds: &self.trail.of(&rollout.flag),
                now_unix_ms: self.now_unix_ms,
                columns: size.columns,
                lines: panel_lines,
            };
            lines.extend(panel.draw());
        }
        lines.push(Line::of(
            Tone::Dim,
            "canary: new version, stable: old one, harm: share of the proof for a rollback",
        ));
        lines.truncate(size.lines);
        let clip = |line: Line| line.clipped(size.columns);
        lines.into_iter().map(clip).collect()
    }
}
