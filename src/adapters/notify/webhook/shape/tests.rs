//! What is sent, to the letter, for plain and for hostile texts.

use http::{HeaderMap, Uri};
use serde_json::json;

use super::*;
use crate::control::ports::OutboxDraft;
use crate::domain::judge::{Assessment, CheckName};
use crate::domain::notify::{HookTold, Occasion};
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;

/// Calls everybody, ends the string, ends the line, begins markup.
const HOSTILE: &str = "</b> & <!channel> \"quoted\"\n*bold* [x](http://a)\u{7}";

fn finding(check: CheckName, assessment: Assessment, reason: &str) -> Finding {
    Finding {
        check,
        assessment,
        group: Some("beta".parse().unwrap()),
        canary: 0.05,
        stable: Some(0.01),
        bound: 0.0125,
        evidence: 1.5,
        n: PerVariant {
            stable: 9_000,
            canary: 480,
        },
        reason: reason.to_owned(),
        evidence_needed: None,
        callers: None,
        missing: None,
    }
}

fn message() -> OutboxMessage {
    let weight = |basis_points| Weight::from_basis_points(basis_points).unwrap();
    OutboxMessage {
        id: 7,
        written_unix_ms: 1_764_000_000_000,
        attempts: 0,
        draft: OutboxDraft {
            target: "chat".to_owned(),
            notice: Notice {
                flag: "orders".parse().unwrap(),
                revision: "2.4.0".to_owned(),
                phase: "rolled_back".to_owned(),
                stage: 2,
                stages: 5,
                who: "judge".to_owned(),
                what: "rolled back from stage 2".to_owned(),
                why: HOSTILE.to_owned(),
                findings: vec![
                    finding(CheckName::LatencyP99, Assessment::Pass, "as fast"),
                    finding(CheckName::ErrorRate, Assessment::Breach, "5% < 1%"),
                ],
                weights: StageWeights {
                    groups: [("beta".parse().unwrap(), weight(10_000))].into(),
                    default: weight(550),
                },
                at_unix_ms: 1_764_000_000_123,
                passed: None,
                rolled_back_group: None,
            },
        },
    }
}

/// Somebody who wants messages of a shape.
fn target(format: NotifyFormat) -> NotifyTarget {
    NotifyTarget {
        name: "chat".parse().unwrap(),
        url: "http://chat/hook"
            .parse::<Uri>()
            .unwrap()
            .try_into()
            .unwrap(),
        format,
        phases: Vec::new(),
        flags: Vec::new(),
        headers: HeaderMap::new(),
        timeout: Duration::from_secs(5),
        authorities: Vec::new(),
        hook: None,
    }
}

fn shaped(format: NotifyFormat, message: &OutboxMessage) -> Value {
    serde_json::from_slice(&body(&target(format), message)).unwrap()
}

#[test]
fn json_holds_all_that_is_known() {
    let finding = |check: &str, assessment: &str, reason: &str| {
        json!({
            "check": check, "assessment": assessment, "group": "beta",
            "canary": 0.05, "stable": 0.01, "bound": 0.0125, "evidence": 1.5,
            "n": { "stable": 9000, "canary": 480 }, "reason": reason,
        })
    };
    assert_eq!(
        shaped(NotifyFormat::Json, &message()),
        json!({
            "version": 1,
            "flag": "orders",
            "revision": "2.4.0",
            "phase": "rolled_back",
            "stage": 2,
            "stages": 5,
            "what": "rolled back from stage 2",
            "why": HOSTILE,
            "who": "judge",
            "weights": { "default": 0.055, "groups": { "beta": 1.0 } },
            "findings": [
                finding("latency_p99", "pass", "as fast"),
                finding("error_rate", "breach", "5% < 1%"),
            ],
            "at": "2025-11-24T16:00:00.123Z",
        })
    );
}

#[test]
fn a_group_that_was_taken_back_alone_is_named() {
    let mut message = message();
    message.draft.notice.rolled_back_group = Some("beta".parse().unwrap());
    message.draft.notice.phase = "progressing".to_owned();
    let told = shaped(NotifyFormat::Json, &message);
    assert_eq!(told["rolled_back_group"], "beta");
    let hook = NotifyTarget {
        hook: Some(HookTold {
            name: "ci".parse().unwrap(),
            on: Occasion::Rollback,
            metadata: [].into(),
        }),
        ..target(NotifyFormat::Json)
    };
    let told: Value = serde_json::from_slice(&body(&hook, &message)).unwrap();
    let expected = (json!("rollback"), json!("beta"), json!("progressing"));
    let found = (&told["on"], &told["rolled_back_group"], &told["phase"]);
    assert_eq!(found, (&expected.0, &expected.1, &expected.2));
}

#[test]
fn slack_is_shown_blocks_in_which_nobody_is_called() {
    let field = |name: &str, value: &str| {
        let text = format!("*{name}*\n{value}");
        json!({ "type": "mrkdwn", "text": text, "verbatim": true })
    };
    let markup = |text: &str| json!({ "type": "mrkdwn", "text": text, "verbatim": true });
    let harmless = "&lt;/b&gt; &amp; &lt;!channel&gt; \"quoted\"";
    let why = format!("{harmless}\n*bold* [x](http://a) ");
    let findings = "• error_rate (beta): 5% &lt; 1%\n• latency_p99 (beta): as fast";
    let in_brief = format!("orders: rolled back from stage 2 — {harmless} *bold* [x](http://a) ");
    assert_eq!(
        shaped(NotifyFormat::Slack, &message()),
        json!({
            "text": in_brief,
            "blocks": [
                {
                    "type": "header",
                    "text": {
                        "type": "plain_text",
                        "text": "orders: rolled back from stage 2",
                        "emoji": false,
                    },
                },
                { "type": "section", "text": markup(&why) },
                {
                    "type": "section",
                    "fields": [
                        field("Phase", "rolled_back"),
                        field("Stage", "2 of 5"),
                        field("Canary", "everyone 5.5%, beta 100%"),
                        field("Revision", "2.4.0"),
                    ],
                },
                { "type": "section", "text": markup(findings) },
                {
                    "type": "context",
                    "elements": [markup("by judge, 2025-11-24T16:00:00.123Z")],
                },
            ],
            "unfurl_links": false,
            "unfurl_media": false,
        })
    );
}

#[test]
fn teams_is_shown_a_card_of_plain_runs() {
    let text = |text: &str| {
        let run = json!({ "type": "TextRun", "text": text });
        json!({ "type": "RichTextBlock", "inlines": [run] })
    };
    let fact = |name: &str, value: &str| {
        json!({
            "type": "RichTextBlock",
            "spacing": "none",
            "inlines": [
                { "type": "TextRun", "text": format!("{name}: "), "isSubtle": true },
                { "type": "TextRun", "text": value },
            ],
        })
    };
    assert_eq!(
        shaped(NotifyFormat::Teams, &message()),
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        {
                            "type": "RichTextBlock",
                            "inlines": [{
                                "type": "TextRun",
                                "text": "orders: rolled back from stage 2",
                                "size": "large",
                                "weight": "bolder",
                                "color": "attention",
                            }],
                        },
                        text(&HOSTILE.replace('\u{7}', " ")),
                        fact("Phase", "rolled_back"),
                        fact("Stage", "2 of 5"),
                        fact("Canary", "everyone 5.5%, beta 100%"),
                        fact("Revision", "2.4.0"),
                        text("error_rate (beta): 5% < 1%"),
                        text("latency_p99 (beta): as fast"),
                        text("by judge, 2025-11-24T16:00:00.123Z"),
                    ],
                },
            }],
        })
    );
}

/// Every text that a shape has, wherever it stands.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[test]
fn endless_texts_are_cut_to_what_is_taken() {
    for letter in ["x", "&", "größe ", "🦀", "\"\n"] {
        let endless = letter.repeat(10_000);
        let mut message = message();
        let notice = &mut message.draft.notice;
        notice.why.clone_from(&endless);
        notice.what.clone_from(&endless);
        notice.who.clone_from(&endless);
        notice.revision.clone_from(&endless);
        let breach = finding(CheckName::ErrorRate, Assessment::Breach, &endless);
        notice.findings = vec![breach; 1_000];
        for (format, text_max, bytes_max) in [
            (NotifyFormat::Json, 4_000, 300_000),
            (NotifyFormat::Slack, 3_000, 40_000),
            (NotifyFormat::Teams, 3_000, 28 * 1024),
        ] {
            let body = body(&target(format), &message);
            assert!(body.len() <= bytes_max, "{format:?}: {} bytes", body.len());
            let value = shaped(format, &message);
            let longest = texts(&value).iter().map(|text| text.chars().count()).max();
            assert!(longest.unwrap() <= text_max, "{format:?}: {longest:?}");
            let is_marked = texts(&value).iter().any(|text| text.ends_with('…'));
            assert!(is_marked, "{format:?}");
            if format == NotifyFormat::Slack {
                let header = &value["blocks"][0]["text"]["text"];
                assert!(header.as_str().unwrap().chars().count() <= 150);
            }
        }
    }
}

#[test]
fn what_is_not_known_is_left_out_or_made_up_for() {
    let mut message = message();
    let notice = &mut message.draft.notice;
    notice.findings.clear();
    notice.why.clear();
    notice.at_unix_ms = 0;
    let slack = shaped(NotifyFormat::Slack, &message);
    assert_eq!(slack["blocks"].as_array().unwrap().len(), 4);
    assert_eq!(slack["blocks"][1]["text"]["text"], "—");
    let at = &shaped(NotifyFormat::Json, &message)["at"];
    assert_eq!(at, "2025-11-24T16:00:00.000Z", "when it was written down");
    message.draft.notice.at_unix_ms = u64::MAX;
    message.draft.notice.findings = vec![Finding {
        canary: f64::NAN,
        ..finding(CheckName::LatencyMean, Assessment::NeedsData, "nothing")
    }];
    let json = shaped(NotifyFormat::Json, &message);
    assert_eq!(json["at"], "9999-12-31T23:59:59.999Z");
    assert!(json["findings"][0]["canary"].is_null());
}

#[test]
fn a_text_is_cut_between_characters() {
    assert_eq!(shortened("größe", 5), "größe");
    assert_eq!(shortened("größe", 4), "grö…");
    assert_eq!(paragraph("a\r\nb\tc\u{1b}[0m"), "a\nb c [0m");
}

#[test]
fn a_hook_is_told_what_it_is_called_for() {
    let hook = NotifyTarget {
        hook: Some(HookTold {
            name: "registry".parse().unwrap(),
            on: Occasion::Rollback,
            metadata: [("team".to_owned(), "shop".to_owned())].into(),
        }),
        ..target(NotifyFormat::Json)
    };
    let told: Value = serde_json::from_slice(&body(&hook, &message())).unwrap();
    for (key, expected) in [
        ("name", "orders"),
        ("hook", "registry"),
        ("on", "rollback"),
        ("phase", "rolled_back"),
        ("revision", "2.4.0"),
    ] {
        assert_eq!(told[key], expected);
    }
    assert_eq!((&told["stage"], &told["stages"]), (&2.into(), &5.into()));
    assert_eq!(told["weight"], 100.0);
    assert_eq!(told["metadata"]["team"], "shop");
}
