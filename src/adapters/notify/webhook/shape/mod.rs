//! What a message says, in the shape that its reader understands.
//!
//! Texts come from configurations, operators and measurements, so each shape makes them harmless
//! in its own way and cuts them to a length that its reader takes.

mod hook;
mod json;
mod slack;
mod teams;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::Value;

use crate::control::ports::OutboxMessage;
use crate::domain::judge::Finding;
use crate::domain::notify::{NotifyFormat, NotifyTarget};
use crate::domain::rollout::{Notice, StageWeights};

/// The most characters of a reason: a few findings in words; what is longer nobody reads in a chat.
const REASON_CHARS_MAX: usize = 1_000;

/// The most characters of a headline; Slack takes 150.
const HEADLINE_CHARS_MAX: usize = 140;

/// The most characters of a line: a finding in words, all weights.
const LINE_CHARS_MAX: usize = 300;

/// The most findings shown to people, those that call for a rollback first.
const SHOWN_FINDINGS_MAX: usize = 5;

/// The last millisecond of the year 9999, after which RFC 3339 has no more digits.
const LAST_UNIX_MS: u64 = 253_402_300_799_999;

/// The body of a message to a target, as JSON.
pub(super) fn body(target: &NotifyTarget, message: &OutboxMessage) -> Bytes {
    let value = match (&target.hook, target.format) {
        (Some(hook), _) => hook::message(hook, message),
        (None, NotifyFormat::Json) => json::message(message),
        (None, NotifyFormat::Slack) => slack::message(message),
        (None, NotifyFormat::Teams) => teams::message(message),
    };
    Bytes::from(Value::to_string(&value))
}

/// When it happened, or was written down where that is not known, in RFC 3339.
fn at(message: &OutboxMessage) -> String {
    let unix_ms = match message.draft.notice.at_unix_ms {
        0 => message.written_unix_ms,
        known => known,
    };
    let moment = UNIX_EPOCH + Duration::from_millis(unix_ms.min(LAST_UNIX_MS));
    humantime::format_rfc3339_millis(moment).to_string()
}

/// `orders: rolled back from stage 2`, on one line.
fn headline(notice: &Notice) -> String {
    let text = line(&format!("{}: {}", notice.flag, notice.what));
    shortened(&text, HEADLINE_CHARS_MAX).into_owned()
}

/// `2 of 5`.
fn stage(notice: &Notice) -> String {
    format!("{} of {}", notice.stage, notice.stages)
}

/// `everyone 5%, beta 100%`.
fn weights(weights: &StageWeights) -> String {
    let everyone = format!("everyone {}", weights.default);
    let groups = weights.groups.iter();
    let groups = groups.map(|(group, weight)| format!("{group} {weight}"));
    let all: Vec<_> = std::iter::once(everyone).chain(groups).collect();
    line(&all.join(", "))
}

/// The findings that tell most, in words.
fn shown_findings(notice: &Notice) -> Vec<String> {
    let (breaches, others): (Vec<&Finding>, _) = notice
        .findings
        .iter()
        .partition(|finding| finding.is_breach());
    let first = breaches.into_iter().chain(others).take(SHOWN_FINDINGS_MAX);
    first
        .map(|finding| {
            let group = finding.group.as_ref();
            let group = group.map(|group| format!(" ({group})")).unwrap_or_default();
            line(&format!("{}{group}: {}", finding.check, finding.reason))
        })
        .collect()
}

/// A text on one line.
fn line(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    shortened(&text, LINE_CHARS_MAX).into_owned()
}

/// A text of several lines, without what a terminal or a chat would obey.
fn paragraph(text: &str) -> String {
    let is_stray = |c: char| c.is_control() && c != '\n';
    let text = text.replace("\r\n", "\n").replace(is_stray, " ");
    shortened(&text, REASON_CHARS_MAX).into_owned()
}

/// The beginning of a text, with an ellipsis where something is left out.
fn shortened(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
            Cow::Owned(format!("{kept}…"))
        }
    }
}
