//! All that is known, for programs.
//!
//! ```json
//! { "version": 1, "flag": "orders", "revision": "2.4.0", "phase": "rolled_back",
//!   "stage": 2, "stages": 5, "what": "rolled back from stage 2", "why": "…", "who": "judge",
//!   "weights": { "default": 0.0, "groups": { "beta": 0.0 } },
//!   "findings": [{ "check": "error_rate", "assessment": "breach", "group": null,
//!                  "canary": 0.052, "stable": 0.004, "bound": 0.009, "evidence": 1.3,
//!                  "n": { "stable": 9120, "canary": 480 }, "reason": "…" }],
//!   "at": "2026-11-25T10:49:11.000Z" }
//! ```
//!
//! `version` is raised when a field changes its meaning or goes; new fields may come without.
//! Where canary was taken back from one group alone, `rolled_back_group` says which.
//! Weights are shares from 0 to 1. `stage` counts from 1. A number that is not finite is `null`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::adapters::notify::webhook::shape::{REASON_CHARS_MAX, at, shortened};
use crate::control::ports::OutboxMessage;
use crate::domain::judge::Finding;

/// The version of the shape.
const VERSION: u32 = 1;

/// The most characters of a text, but for a finding's reason: programs take more than people, but not everything.
const TEXT_CHARS_MAX: usize = 4_000;

/// The most findings: more than any plan has checks for its groups.
const FINDINGS_MAX: usize = 50;

pub(super) fn message(message: &OutboxMessage) -> Value {
    let notice = &message.draft.notice;
    let groups = notice.weights.groups.iter();
    let groups: BTreeMap<_, _> = groups
        .map(|(group, weight)| (group.as_str(), weight.ratio()))
        .collect();
    let findings = notice.findings.iter().take(FINDINGS_MAX).map(finding);
    let mut body = json!({
        "version": VERSION,
        "flag": notice.flag,
        "revision": text(&notice.revision),
        "phase": notice.phase,
        "stage": notice.stage,
        "stages": notice.stages,
        "what": text(&notice.what),
        "why": text(&notice.why),
        "who": text(&notice.who),
        "weights": { "default": notice.weights.default.ratio(), "groups": groups },
        "findings": findings.collect::<Vec<_>>(),
        "at": at(message),
    });
    if let Some(group) = &notice.rolled_back_group {
        body["rolled_back_group"] = json!(group);
    }
    body
}

fn finding(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "assessment": finding.assessment,
        "group": finding.group,
        "canary": finding.canary,
        "stable": finding.stable,
        "bound": finding.bound,
        "evidence": finding.evidence,
        "n": finding.n,
        "reason": shortened(&finding.reason, REASON_CHARS_MAX),
    })
}

fn text(text: &str) -> String {
    shortened(text, TEXT_CHARS_MAX).into_owned()
}
