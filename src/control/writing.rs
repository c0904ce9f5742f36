//! How a rollout is written down: before it takes effect, and again where that is in doubt.

use crate::control::judging::Judged;
use crate::control::perform::{NOT_IN_TIME, Performer, Saved, Unwritten, line};
use crate::control::ports::{JournalLine, OutboxDraft, StateError, Transition};
use crate::control::running::{JOURNAL_SHOWN, RunningRollout};
use crate::domain::rollout::{JournalEntry, RolloutRecord};

impl RunningRollout {
    /// Writes down where it is from now on.
    ///
    /// # Errors
    /// When that is not possible, and canary would get more callers by it.
    pub(super) fn persist(
        &mut self,
        record: RolloutRecord,
        line: JournalLine,
        messages: Vec<OutboxDraft>,
        performer: &mut Performer,
    ) -> Result<(), StateError> {
        let unwritten = if record.weights.is_at_most(&self.written) {
            Unwritten::Allowed
        } else {
            Unwritten::Refused
        };
        let (plan, state) = (&self.plan, &record.state);
        let under_way = state.under_way.stored();
        let known = self.judging.known(Judged { plan, state }, under_way);
        performer.writer.keep_evidence(known);
        let mut transition = Transition {
            record: Some(record.clone()),
            lines: vec![line.clone()],
            messages,
            ..Transition::default()
        };
        // What was not written in time may have been written since. The very same again is then
        // known to be there; told anew it would stand in the journal twice.
        if let Some(earlier) = self.attempted.take().filter(|t| leads_to(t, &record)) {
            transition = earlier;
        }
        match performer.save(transition.clone(), unwritten) {
            Ok(Saved::Now) => self.written = record.weights,
            Ok(Saved::Later) => {}
            Err(error) => {
                self.attempted = Some(transition);
                return Err(error);
            }
        }
        self.state = record.state;
        self.journal.push_front(line);
        self.journal.truncate(JOURNAL_SHOWN);
        Ok(())
    }

    /// Has it written down that it is where it is, after a command was refused that may be written
    /// yet.
    pub(crate) fn restore(&mut self, performer: &mut Performer) {
        if !performer.is_in_doubt {
            return;
        }
        let entry = JournalEntry {
            who: "plan".to_owned(),
            what: format!(
                "{} in stage {} as before",
                self.state.phase,
                self.state.stage + 1
            ),
            why: NOT_IN_TIME.to_owned(),
            findings: Vec::new(),
        };
        let line = line(&self.name, entry);
        performer.restore(Transition {
            record: Some(self.record()),
            lines: vec![line.clone()],
            ..Transition::default()
        });
        self.journal.push_front(line);
        self.journal.truncate(JOURNAL_SHOWN);
    }

    /// Takes note of what was written down late.
    pub(crate) fn note_written(&mut self, records: &[RolloutRecord]) {
        let own = |record: &&RolloutRecord| {
            record.flag == self.name && record.release == *self.plan.release()
        };
        if let Some(record) = records.iter().rfind(own) {
            self.written = record.weights.clone();
        }
    }
}

/// Whether a transition is the step to where a record is, tried before, by the same plan.
fn leads_to(transition: &Transition, record: &RolloutRecord) -> bool {
    transition.record.as_ref().is_some_and(|tried| {
        let place = |record: &RolloutRecord| {
            let state = &record.state;
            (state.phase.clone(), state.stage, state.epoch, state.attempt)
        };
        let is_same_plan = tried.stages == record.stages && tried.weights == record.weights;
        tried.release == record.release && place(tried) == place(record) && is_same_plan
    })
}
