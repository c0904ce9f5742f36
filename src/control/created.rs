//! Flags that are created at run time, beside those that the configuration declares.
//!
//! The state holds their definitions as text, and each configuration that comes is completed by them
//! before it is put in place. A flag is created by putting the running configuration in place anew with
//! one flag more, so whatever a flag of the file goes through, a created one does.

use std::sync::Arc;

use crate::config::DefinitionError;
use crate::control::controller::Controller;
use crate::control::definitions::{
    Created, Texts, completed, fitted, hidden_in, in_favour_of_file, shown, unfit,
};
use crate::control::flags::{FlagError, FlagStatus};
use crate::control::installation::{FlagRefusal, NewConfiguration, examine, remember};
use crate::control::perform::{Unwritten, line, not_done};
use crate::control::ports::{JournalLine, Transition};
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::rollout::{Admission, Author, JournalEntry, Phase, RolloutRecord};
use crate::domain::route::RouteTarget;
use crate::domain::stage_weights::StageWeights;

/// The most flags that may be created: more than anybody looks after.
pub const CREATED_FLAGS_MAX: usize = 256;

/// What the definition of a flag depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing; but only the very same definition is taken twice.
    None,
    /// That there is no such flag.
    IsAbsent,
    /// That there is one, and that it has this version if one is named.
    IsThere(Option<String>),
}

/// What has become of a definition.
#[derive(Clone, Debug)]
pub struct Defined {
    /// How the flag stands.
    pub status: FlagStatus,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// A configuration completed by created flags, and how each rollout goes on.
pub(super) struct Prepared {
    created: Created,
    whole: NewConfiguration,
    admissions: Vec<Admission>,
    /// What gives way to flags of the file.
    given_way: Texts,
}

impl Controller {
    /// Completes a configuration by the flags that were created, and finds all that is wrong with it.
    pub(super) fn prepare(&self, base: NewConfiguration) -> Result<Prepared, Vec<FlagRefusal>> {
        let is_declared = |flag: &FlagName| base.routing.flags.iter().any(|it| it.name == *flag);
        let (mut given_way, mut texts) = (Texts::new(), self.created.texts.clone());
        let mut aside = self.created.aside.clone();
        for set in [&mut texts, &mut aside] {
            given_way.extend(set.extract_if(.., |flag, _| is_declared(flag)));
        }
        let whole = fitted(&base, &mut texts, &mut aside);
        let (whole, reasons) =
            whole.map_err(|errors| errors.into_iter().map(unfit).collect::<Vec<_>>())?;
        let admissions = examine(&whole, &self.rollouts, &self.records)?;
        Ok(Prepared {
            created: Created::beside(base, texts, (aside, reasons)),
            whole,
            admissions,
            given_way,
        })
    }

    /// Puts in place what was prepared.
    pub(super) fn put_in_place(&mut self, prepared: Prepared) {
        let Prepared {
            created,
            whole,
            admissions,
            given_way,
        } = prepared;
        if !given_way.is_empty() {
            let given_way = in_favour_of_file(given_way);
            // The configuration holds in any case.
            let _ = self.performer.save(given_way, Unwritten::Allowed);
        }
        self.created = created;
        self.carry_out(whole, admissions);
    }

    /// Creates a flag, or defines one anew that was created; the next evaluation is decided by it.
    pub(super) fn define_flag(
        &mut self,
        flag: &FlagName,
        text: &Arc<str>,
        precondition: &Precondition,
        by: &Author,
    ) -> Result<Defined, FlagError> {
        if let Some(line) = self.created.declared(flag) {
            return Err(FlagError::Declared(flag.clone(), line));
        }
        let hidden = hidden_in(text);
        if !hidden.is_empty() {
            return Err(FlagError::Unfit(hidden));
        }
        let mut created = self.created.clone();
        let known = created.insert(flag, text);
        // What is wrong in itself is told before what it is not wanted for.
        let whole = completed(&created.base, &created.texts);
        let whole = whole.map_err(|errors| not_defined(flag, errors))?;
        let before = self.status_of(flag);
        let is_new = !self.created.has(flag);
        // One that was left aside is there for nobody, and has no version to be named.
        let is_there = self.created.texts.contains_key(flag);
        let is_same = self.created.texts.get(flag) == Some(text);
        // Whoever has heard nothing of it may ask for it again.
        if !(is_same && *precondition == Precondition::None) {
            check(flag, precondition, before.as_ref(), is_there)?;
        }
        if let (true, Some(status)) = (is_same, before) {
            return Ok(Defined { status, is_new });
        }
        let count = self.created.texts.len() + self.created.aside.len();
        if is_new && count >= CREATED_FLAGS_MAX {
            return Err(FlagError::TooMany);
        }
        // One that was left aside goes on where it was.
        if is_new || is_there {
            self.refuse_known_release(flag, &whole)?;
        }
        let what = match &known {
            None => format!("created: {}", shown(text)),
            Some(known) => format!("defined anew: {} -> {}", shown(known), shown(text)),
        };
        self.replace_created((flag, Some(text)), (created, whole), what, by)?;
        let status = self.status_of(flag).ok_or(FlagError::Stopping)?;
        Ok(Defined { status, is_new })
    }

    /// Deletes a flag that was created.
    pub(super) fn delete_flag(
        &mut self,
        flag: &str,
        expected: Option<&str>,
        by: &Author,
    ) -> Result<(), FlagError> {
        let unknown = |controller: &Self| controller.no_flag(flag);
        let name: FlagName = flag.parse().map_err(|_| unknown(self))?;
        if let Some(line) = self.created.declared(&name) {
            return Err(FlagError::Declared(name, line));
        }
        if !self.created.has(&name) {
            return Err(unknown(self));
        }
        match (self.status_of(&name), expected) {
            (Some(status), Some(expected)) if expected != status.version => {
                return Err(stale(&status));
            }
            (None, Some(_)) => return Err(FlagError::IsAbsent(name)),
            _ => {}
        }
        if let Some(route) = self.route_of(&name) {
            let told =
                format!("route `{route}` names it; take it out there first, or turn the flag off");
            return Err(FlagError::InUse(name, told));
        }
        let mut created = self.created.clone();
        let gone = created.remove(&name);
        let whole = completed(&created.base, &created.texts);
        let whole = whole.map_err(|errors| {
            let told = errors.iter().map(|it| format!("{}: {}", it.flag, it.error));
            FlagError::InUse(name.clone(), told.collect::<Vec<_>>().join(", "))
        })?;
        let what = format!("deleted: {}", shown(gone.as_deref().unwrap_or_default()));
        self.replace_created((&name, None), (created, whole), what, by)
    }

    /// Writes down that a flag is created, defined anew or deleted, and puts the flags in place.
    fn replace_created(
        &mut self,
        (flag, text): (&FlagName, Option<&Arc<str>>),
        (created, whole): (Created, NewConfiguration),
        what: String,
        by: &Author,
    ) -> Result<(), FlagError> {
        self.remember_rollouts();
        let admissions = examine(&whole, &self.rollouts, &self.records);
        let admissions = admissions.map_err(|refusals| {
            let told = refusals
                .iter()
                .map(|it| format!("{}; {}", it.problem, it.hint));
            FlagError::Refused(told.collect::<Vec<_>>().join(", "))
        })?;
        let entry = JournalEntry {
            who: by.who.clone(),
            what,
            why: by.why.clone(),
            findings: Vec::new(),
        };
        tracing::info!(%flag, who = entry.who, why = entry.why, "{}", entry.what);
        let ended = text.is_none().then(|| self.ended_release(flag)).flatten();
        let transition = Transition {
            created: vec![(flag.clone(), text.cloned())],
            record: ended.clone(),
            lines: vec![line(flag, entry)],
            ..Transition::default()
        };
        let lines = transition.lines.clone();
        if let Err(error) = self.performer.save(transition, Unwritten::Refused) {
            if self.performer.is_in_doubt {
                let known = &self.created;
                let holds = known.texts.get(flag).or_else(|| known.aside.get(flag));
                let still = Transition {
                    record: ended.and_then(|_| self.last_release(flag).cloned()),
                    ..still((flag, holds.cloned()), lines)
                };
                self.performer.restore(still);
            }
            return Err(FlagError::NotWritten(error.to_string()));
        }
        self.created = created;
        self.carry_out(whole, admissions);
        if text.is_none() {
            self.performer.feedback.remove(flag);
        }
        if let Some(ended) = ended {
            remember(&mut self.records, ended);
        }
        self.recall();
        Ok(())
    }

    fn last_release(&self, flag: &FlagName) -> Option<&RolloutRecord> {
        self.records.get(flag)?.last()
    }

    /// The last release of a flag that is to be deleted: nobody is on its canary any more, so no flag of this
    /// name that comes later has to begin there.
    fn ended_release(&self, flag: &FlagName) -> Option<RolloutRecord> {
        let mut record = self.last_release(flag)?.clone();
        record.state.phase = Phase::Aborted {
            reason: "the flag was deleted".to_owned(),
        };
        record.weights = StageWeights::default();
        Some(record)
    }

    /// Refuses a rollout of a flag that has none, of a release that one of its name had before: it would be at
    /// once where that one was left, with all callers on canary maybe.
    fn refuse_known_release(
        &self,
        flag: &FlagName,
        whole: &NewConfiguration,
    ) -> Result<(), FlagError> {
        let mut planned = whole.planned.iter().map(|planned| &planned.plan);
        let Some(plan) = planned.find(|plan| plan.flag() == flag) else {
            return Ok(());
        };
        if self.rollouts.iter().any(|rollout| rollout.name == *flag) {
            return Ok(());
        }
        let known = self.records.get(flag).map_or(&[][..], Vec::as_slice);
        let same = known
            .iter()
            .find(|record| record.release == *plan.release());
        match same {
            None => Ok(()),
            Some(record) => Err(FlagError::Refused(format!(
                "a flag `{flag}` that there was before has released revision `{}` already ({}); give this one \
                 another revision",
                plan.revision(),
                record.state.phase.as_str()
            ))),
        }
    }

    /// A route that names a flag.
    fn route_of(&self, flag: &FlagName) -> Option<String> {
        let routing = &self.performer.routing;
        let index = routing.flag_index(flag.as_str())?;
        let names =
            |target: RouteTarget| matches!(target, RouteTarget::Flag { flag, .. } if flag == index);
        let mut routes = routing.routes.iter();
        let (_, route) =
            routes.find(|(_, route)| names(route.target) || route.send.contains(&index))?;
        Some(route.label.to_string())
    }

    fn status_of(&self, flag: &FlagName) -> Option<FlagStatus> {
        let index: FlagIndex = self.performer.routing.flag_index(flag.as_str())?;
        Some(self.flag_status(index))
    }
}

/// Whether a definition may be taken.
fn check(
    flag: &FlagName,
    precondition: &Precondition,
    before: Option<&FlagStatus>,
    is_there: bool,
) -> Result<(), FlagError> {
    match (precondition, before) {
        (Precondition::None, _) if is_there => Err(FlagError::Exists(flag.clone())),
        (Precondition::IsAbsent, _) if is_there => Err(FlagError::IsThere(flag.clone())),
        (Precondition::IsThere(_), _) if !is_there => Err(FlagError::IsAbsent(flag.clone())),
        (Precondition::IsThere(Some(version)), Some(before)) if *version != before.version => {
            Err(stale(before))
        }
        _ => Ok(()),
    }
}

fn stale(status: &FlagStatus) -> FlagError {
    FlagError::Stale {
        flag: status.flag.clone(),
        version: status.version.clone(),
    }
}

/// Why a definition is not taken: it is wrong, or others need the one before.
fn not_defined(flag: &FlagName, errors: Vec<DefinitionError>) -> FlagError {
    let (own, others): (Vec<_>, Vec<_>) = errors.into_iter().partition(|it| it.flag == *flag);
    if own.is_empty() {
        let told = others.iter().map(|it| format!("{}: {}", it.flag, it.error));
        return FlagError::InUse(flag.clone(), told.collect::<Vec<_>>().join(", "));
    }
    FlagError::Unfit(own.iter().map(|it| it.error.to_string()).collect())
}

/// What holds when a change was refused, as `refused` would have told.
fn still((flag, holds): (&FlagName, Option<Arc<str>>), refused: Vec<JournalLine>) -> Transition {
    Transition {
        created: vec![(flag.clone(), holds)],
        lines: not_done(refused),
        ..Transition::default()
    }
}
