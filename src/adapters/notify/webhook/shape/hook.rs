//! What a hook is told: the same fields as a webhook before a stage is asked with.
//!
//! ```json
//! { "name": "orders", "hook": "registry", "on": "success", "phase": "succeeded", "stage": 5, "stages": 5,
//!   "weight": 100.0, "revision": "2.4.0", "why": "…", "metadata": {}, "at": "2026-11-25T10:49:11.000Z" }
//! ```
//!
//! `weight` is what canary has now, as percent, the greatest of all groups. `stage` is the one that has
//! passed, or the one it is in. Where canary was taken back from one group alone, `rolled_back_group` says which, and
//! the phase is that in which the others go on.

use serde_json::{Value, json};

use crate::adapters::notify::webhook::shape::{REASON_CHARS_MAX, at, shortened};
use crate::control::ports::OutboxMessage;
use crate::domain::notify::HookTold;

pub(super) fn message(hook: &HookTold, message: &OutboxMessage) -> Value {
    let notice = &message.draft.notice;
    let mut body = json!({
        "name": notice.flag,
        "hook": hook.name,
        "on": hook.on.as_str(),
        "phase": notice.phase,
        "stage": notice.passed.unwrap_or(notice.stage),
        "stages": notice.stages,
        "weight": notice.weights.greatest().ratio() * 100.0,
        "revision": notice.revision,
        "why": shortened(&notice.why, REASON_CHARS_MAX),
        "metadata": hook.metadata,
        "at": at(message),
    });
    if let Some(group) = &notice.rolled_back_group {
        body["rolled_back_group"] = json!(group);
    }
    body
}
