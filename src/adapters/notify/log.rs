//! Tells whoever reads the log, louder the worse it is.

use crate::control::ports::Notifier;
use crate::domain::rollout::Notice;

/// Writes notices into the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogNotifier;

impl Notifier for LogNotifier {
    fn notify(&mut self, notice: &Notice) {
        let Notice {
            flag,
            revision,
            phase,
            what,
            why,
            ..
        } = notice;
        if phase == "rolled_back" {
            tracing::warn!(%flag, revision, phase, "{what}: {why}");
        } else {
            tracing::info!(%flag, revision, phase, "{what}: {why}");
        }
    }
}
