//! What a webhook of Microsoft Teams (made with Workflows) shows: a message with an Adaptive Card.
//!
//! Texts stand in text runs, the one element in which Teams takes no character for markup, so
//! there is nothing to escape. A message may have 28 KiB.
//! See <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>.

use serde_json::{Value, json};

use crate::adapters::notify::webhook::shape::{
    at, headline, line, paragraph, shown_findings, stage, weights,
};
use crate::control::ports::OutboxMessage;
use crate::domain::rollout::Notice;

/// The version of Adaptive Cards that Teams shows everywhere, on telephones too.
const CARD_VERSION: &str = "1.4";

pub(super) fn message(message: &OutboxMessage) -> Value {
    let notice = &message.draft.notice;
    let mut body = vec![
        json!({
            "type": "RichTextBlock",
            "inlines": [{
                "type": "TextRun",
                "text": headline(notice),
                "size": "large",
                "weight": "bolder",
                "color": colour(notice),
            }],
        }),
        text(&paragraph(&notice.why)),
        fact("Phase", &notice.phase),
        fact("Stage", &stage(notice)),
        fact("Canary", &weights(&notice.weights)),
        fact("Revision", &line(&notice.revision)),
    ];
    body.extend(shown_findings(notice).iter().map(|finding| text(finding)));
    body.push(text(&format!("by {}, {}", line(&notice.who), at(message))));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": CARD_VERSION,
                "body": body,
            },
        }],
    })
}

fn colour(notice: &Notice) -> &'static str {
    match notice.phase.as_str() {
        "rolling_back" | "rolled_back" | "aborted" => "attention",
        "waiting_for_approval" | "waiting_for_gate" | "paused" => "warning",
        "succeeded" => "good",
        _ => "default",
    }
}

fn text(text: &str) -> Value {
    json!({
        "type": "RichTextBlock",
        "inlines": [{ "type": "TextRun", "text": text }],
    })
}

fn fact(name: &str, value: &str) -> Value {
    json!({
        "type": "RichTextBlock",
        "spacing": "none",
        "inlines": [
            { "type": "TextRun", "text": format!("{name}: "), "isSubtle": true },
            { "type": "TextRun", "text": value },
        ],
    })
}
