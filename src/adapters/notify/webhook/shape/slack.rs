//! What Slack's incoming webhooks show: blocks, and a text for notifications.
//!
//! In Slack's markup `&`, `<` and `>` are what links and mentions begin with (`<!channel>` calls
//! everybody), and the only characters that must be escaped; `verbatim` keeps Slack from finding
//! names and links in the rest. A section takes 3,000 characters, a header 150.
//! See <https://docs.slack.dev/messaging/formatting-message-text>.

use serde_json::{Value, json};

use crate::adapters::notify::webhook::shape::{
    at, headline, line, paragraph, shown_findings, stage, weights,
};
use crate::control::ports::OutboxMessage;

/// The most characters of a section's text, once escaped.
const SECTION_CHARS_MAX: usize = 3_000;

pub(super) fn message(message: &OutboxMessage) -> Value {
    let notice = &message.draft.notice;
    let mut blocks = vec![
        json!({
            "type": "header",
            "text": { "type": "plain_text", "text": headline(notice), "emoji": false },
        }),
        section(&paragraph(&notice.why)),
        json!({
            "type": "section",
            "fields": [
                field("Phase", &notice.phase),
                field("Stage", &stage(notice)),
                field("Canary", &weights(&notice.weights)),
                field("Revision", &line(&notice.revision)),
            ],
        }),
    ];
    let findings = shown_findings(notice);
    if !findings.is_empty() {
        blocks.push(section(&format!("• {}", findings.join("\n• "))));
    }
    let origin = format!("by {}, {}", line(&notice.who), at(message));
    blocks.push(json!({ "type": "context", "elements": [markup(&origin)] }));
    json!({
        "text": escaped(&format!("{} — {}", headline(notice), line(&notice.why))),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn section(text: &str) -> Value {
    // Slack refuses a section without text.
    let text = if text.trim().is_empty() { "—" } else { text };
    json!({ "type": "section", "text": markup(text) })
}

fn field(name: &str, value: &str) -> Value {
    json!({
        "type": "mrkdwn",
        "text": format!("*{name}*\n{}", escaped(value)),
        "verbatim": true,
    })
}

fn markup(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": escaped(text), "verbatim": true })
}

/// Escapes as many characters as fit into a section, and never half of one.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let mut chars = 0;
    for c in text.chars() {
        let piece = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        chars += piece.len().max(1);
        if chars >= SECTION_CHARS_MAX {
            escaped.push('…');
            break;
        }
        if piece.is_empty() {
            escaped.push(c);
        } else {
            escaped.push_str(piece);
        }
    }
    escaped
}
