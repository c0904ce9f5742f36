//! What operators' commands do.

use crate::control::commands::{CommandError, FlagCommand, InstallError, PendingCommand};
use crate::control::controller::Controller;
use crate::control::moment::moment_of;
use crate::control::perform::{NOT_IN_TIME, Saved, Unwritten, line, now_unix_ms};
use crate::control::ports::{JournalLine, Transition};
use crate::control::running::RunningRollout;
use crate::control::status::{FreezeStatus, RolloutStatus};
use crate::domain::rollout::{Author, Command, Event, Freeze, JournalEntry, Moment};

impl Controller {
    /// Carries a command out; who waits for the reply sees its effect everywhere.
    ///
    /// Whoever asked may have left; what was asked for is done all the same.
    pub(super) fn obey(&mut self, pending: PendingCommand) {
        match pending {
            PendingCommand::Rollout {
                flag,
                command,
                by,
                reply,
            } => {
                let answer = self.command(flag, command, by);
                self.publish_status();
                let _ = reply.send(answer);
            }
            PendingCommand::Outlook { flag, reply } => {
                let mut rollouts = self.rollouts.iter();
                let found = rollouts.find(|rollout| rollout.name.as_str() == flag);
                let now = self.clock.now();
                let ahead = found.map(|rollout| rollout.look_ahead(now));
                let _ = reply.send(ahead.ok_or(CommandError::NoRollout(flag)));
            }
            PendingCommand::TakeBackAll { by, reply } => {
                let answer = self.take_back_all(&by);
                self.publish_status();
                let _ = reply.send(answer);
            }
            PendingCommand::Freeze { on, by, reply } => {
                let answer = self.set_freeze(on, by);
                self.publish_status();
                let _ = reply.send(answer);
            }
            PendingCommand::Flag(command) => self.obey_of_flag(command),
            PendingCommand::App {
                app,
                order,
                expected,
                by,
                reply,
            } => {
                let _ = reply.send(self.order_app(&app, &order, expected.as_deref(), &by));
            }
            PendingCommand::Assign {
                group,
                key,
                order,
                by,
                reply,
            } => {
                let _ = reply.send(self.assign(&group, &key, order, &by));
            }
            PendingCommand::Callers(command) => self.obey_of_callers(command),
            PendingCommand::Install {
                configuration,
                reply,
            } => {
                let answer = self.install(*configuration).map_err(InstallError::Refused);
                if answer.is_ok() {
                    self.recall();
                }
                self.publish_status();
                let _ = reply.send(answer);
            }
        }
    }

    /// The same for what is asked of one flag.
    fn obey_of_flag(&mut self, command: FlagCommand) {
        match command {
            FlagCommand::Change {
                flag,
                order,
                expected,
                by,
                reply,
            } => {
                let answer = self.change_flag(&flag, &order, expected.as_deref(), &by);
                self.publish_status();
                let _ = reply.send(answer);
            }
            FlagCommand::Define {
                flag,
                definition,
                precondition,
                by,
                reply,
            } => {
                let answer = self.define_flag(&flag, &definition, &precondition, &by);
                self.publish_status();
                let _ = reply.send(answer);
            }
            FlagCommand::Delete {
                flag,
                expected,
                by,
                reply,
            } => {
                let answer = self.delete_flag(&flag, expected.as_deref(), &by);
                self.publish_status();
                let _ = reply.send(answer);
            }
        }
    }

    pub(super) fn command(
        &mut self,
        flag: String,
        command: Command,
        by: Author,
    ) -> Result<RolloutStatus, CommandError> {
        let now = self.clock.now();
        let of_command = |rollout: &&mut RunningRollout| rollout.name.as_str() == flag;
        let Some(rollout) = self.rollouts.iter_mut().find(of_command) else {
            return Err(CommandError::NoRollout(flag));
        };
        let circumstances = (now, self.freeze.as_ref());
        let gates = rollout.gates_seen();
        let moment = Moment {
            gates: gates.as_ref(),
            ..moment_of(rollout, circumstances, &self.performer, &self.endpoints)
        };
        let event = Event::Command { command, by };
        let advanced = rollout.advance(event, &moment, &mut self.performer);
        if let Err(CommandError::NotWritten(_)) = advanced {
            rollout.restore(&mut self.performer);
        }
        advanced?;
        Ok(rollout.status(&self.performer, &moment))
    }

    /// Freezes promotions, or lets them go on; again changes who wants it and why.
    fn set_freeze(&mut self, on: bool, by: Author) -> Result<FreezeStatus, CommandError> {
        if !on && self.freeze.is_none() {
            return Ok(FreezeStatus {
                freeze: None,
                is_written: true,
            });
        }
        let what = if on {
            "promotions frozen"
        } else {
            "promotions go on"
        };
        let entry = JournalEntry {
            who: by.who.clone(),
            what: what.to_owned(),
            why: by.why.clone(),
            findings: Vec::new(),
        };
        let freeze = on.then(|| Freeze {
            who: by.who,
            why: by.why,
            at_unix_ms: now_unix_ms(),
        });
        let flags = self.rollouts.iter().map(|rollout| &rollout.name);
        let transition = Transition {
            freeze: Some(freeze.clone()),
            lines: flags.map(|flag| line(flag, entry.clone())).collect(),
            ..Transition::default()
        };
        // To stop promoting is safe even where it cannot be written down; to go on is not.
        let unwritten = if on {
            Unwritten::Allowed
        } else {
            Unwritten::Refused
        };
        let lines = transition.lines.clone();
        let saved = self.performer.save(transition, unwritten);
        if saved.is_err() && self.performer.is_in_doubt {
            self.performer.restore(self.still_frozen(lines));
        }
        let saved = saved.map_err(|error| CommandError::NotWritten(error.to_string()))?;
        tracing::warn!(who = entry.who, why = entry.why, "{what}");
        self.freeze = freeze;
        self.recall();
        Ok(FreezeStatus {
            freeze: self.freeze.clone(),
            is_written: saved == Saved::Now,
        })
    }

    /// What holds when promotions were not let go on, as `refused` would have told.
    fn still_frozen(&self, refused: Vec<JournalLine>) -> Transition {
        let lines = refused.into_iter().map(|line| JournalLine {
            entry: JournalEntry {
                what: "promotions stay frozen".to_owned(),
                why: NOT_IN_TIME.to_owned(),
                ..line.entry
            },
            ..line
        });
        Transition {
            freeze: Some(self.freeze.clone()),
            lines: lines.collect(),
            ..Transition::default()
        }
    }
}
