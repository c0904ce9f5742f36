//! Tells whoever reads the log, louder the worse it is.

use crate::control::ports::Notifier;
use crate::domain::rollout::Notice;

/// Writes notices into the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogNotifier;

impl Notifier for LogNotifier {
    fn notify(&mut self, notice: &Notice) {
        let (flag, revision, phase, who) =
            (&notice.flag, &notice.revision, &notice.phase, &notice.who);
        let text = format!("{}: {}", notice.what, notice.why);
        if phase == "rolled_back" || notice.why.starts_with("UNDECIDED") || who == "deadline" {
            tracing::warn!(%flag, revision, phase, who, "{text}");
        } else {
            tracing::info!(%flag, revision, phase, who, "{text}");
        }
    }
}
