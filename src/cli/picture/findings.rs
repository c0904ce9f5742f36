//! What each check of the judge has found, in a line with a bar.

use crate::domain::judge::{Assessment, CheckName, Finding};

use super::bars::bar;
use super::line::{Line, Tone};
use super::words;

/// Columns of the bar.
const BAR: usize = 10;

/// One line for each finding, at most so many, harm first.
pub(crate) fn lines(findings: &[Finding], lines_max: usize) -> Vec<Line> {
    let mut findings: Vec<_> = findings.iter().collect();
    // Stable: what is equally bad stays in the judge's order.
    findings.sort_by_key(|finding| !finding.is_breach());
    findings.into_iter().take(lines_max).map(line).collect()
}

fn line(finding: &Finding) -> Line {
    let (tone, word) = match finding.assessment {
        Assessment::Pass => (Tone::Good, "fine"),
        Assessment::Undecided => (Tone::Doubtful, "undecided"),
        Assessment::NeedsData => (Tone::Dim, "needs data"),
        Assessment::Unmet => (Tone::Doubtful, "not met"),
        Assessment::Breach => (Tone::Bad, "HARM"),
    };
    let value = |value: f64| match finding.check {
        CheckName::ErrorRate
        | CheckName::ErrorRateMax
        | CheckName::Tripwire
        | CheckName::ClientErrors
        | CheckName::AnswerSize
        | CheckName::ContentType
        | CheckName::Feedback
        | CheckName::Split => words::share(value),
        CheckName::FeedbackMin => format!("{value:.1}"),
        CheckName::LatencyP50
        | CheckName::LatencyP90
        | CheckName::LatencyP99
        | CheckName::LatencyMean => words::milliseconds(Some(value)),
        CheckName::ReleaseWhen | CheckName::Custom(_) => format!("{value:.2}"),
    };
    let stable = finding.stable.map_or_else(|| "-".to_owned(), value);
    let (filled, rest) = bar(finding.evidence, BAR);
    let group = finding.group.as_ref();
    let where_ = group.map_or_else(String::new, |group| format!(" in {group}"));
    Line::of(Tone::Plain, format!("  {:<9}", name(&finding.check)))
        .and(Tone::Canary, format!("{:>7}", value(finding.canary)))
        .and(Tone::Stable, format!("  stable {stable:>7}"))
        .and(Tone::Plain, format!("  limit {:>7}", value(finding.bound)))
        .and(Tone::Dim, "  harm ")
        .and(tone, filled)
        .and(Tone::Dim, rest)
        .and(tone, format!(" {word}{where_}"))
}

fn name(check: &CheckName) -> &str {
    match check {
        CheckName::ErrorRate | CheckName::ErrorRateMax => "failures",
        CheckName::LatencyP50 => "p50",
        CheckName::LatencyP90 => "p90",
        CheckName::LatencyP99 => "p99",
        CheckName::LatencyMean => "mean",
        CheckName::ClientErrors => "4xx",
        CheckName::AnswerSize => "size",
        CheckName::ContentType => "type",
        CheckName::Feedback => "bad ratings",
        CheckName::FeedbackMin => "rating",
        CheckName::Split => "split",
        CheckName::Tripwire | CheckName::ReleaseWhen | CheckName::Custom(_) => check.as_str(),
    }
}
