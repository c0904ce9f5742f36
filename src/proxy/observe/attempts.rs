//! What becomes of attempts, and what the caller is shown in the end.

use crate::domain::evidence::OutcomeClass;
use crate::proxy::observe::Observation;

impl Observation {
    /// Says that an attempt failed, though another may still succeed. Only the first counts.
    pub(crate) fn first_attempt_failed(&mut self, class: OutcomeClass, was_refused: bool) {
        if self.first_attempt.is_some() {
            return;
        }
        self.stop_waiting();
        self.first_attempt = Some(class);
        if was_refused && let Some(arm) = self.arm() {
            arm.record_refused();
        }
    }

    /// Says that another variant's backend answers in place of the one decided.
    pub(crate) fn rescued(&mut self) {
        self.is_rescued = true;
        self.entry.rescued();
        if let Some(arm) = self.arm() {
            arm.record_rescued();
        }
    }

    /// Remembers what the caller is shown. That is before it is shown it, so that whoever rates it is known.
    pub(super) fn note_exposure(&self) {
        if let Some((flag, decision)) = self.flag
            && !self.is_rescued
        {
            self.view.meters().note_exposure(flag, decision);
        }
    }
}
