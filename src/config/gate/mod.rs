//! What stands before stages, and who takes part in a rollout: gates and hooks.
//!
//! A hook that is asked before each stage is a gate before each of them. One that is told of something is a
//! target of notifications that hears of one flag and one occasion.

mod text;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;

use crate::domain::gate::{Gate, GateKind, Webhook};
use crate::domain::ids::{FlagName, TargetName};
use crate::domain::notify::{HookTold, NotifyFormat, NotifyTarget, Occasion, WebhookUrl};
use crate::domain::rollout::Stage;

use crate::config::defaults::{
    GATE_ATTEMPTS, GATE_EVERY, GATE_EVERY_MIN, GATE_TIMEOUT, GATE_TIMEOUT_MAX, GATES_MAX,
    METADATA_BYTES_MAX, METADATA_MAX, NOTIFY_TIMEOUT, NOTIFY_TIMEOUT_MAX,
};
use crate::config::document::{
    AnyWebhookDocument, ApproveDocument, GateDocument, HookDocument, OccasionDocument,
    RolloutDocument, WebhookDocument,
};
use crate::config::flag::FlagConfig;
use crate::config::notify::{headers, unused_name};
use crate::config::report::{Problem, Report};
use crate::config::text::Span;
use crate::config::tree::Place;
use crate::config::written::{Count, Named, Placed, ShortOr, Written};

pub(super) use text::{DaysWritten, TimeWritten, ZoneWritten};

/// Puts gates before stages; gives the hooks that are told.
pub(super) fn close_gates(
    flag: &FlagName,
    document: &RolloutDocument,
    stages: &mut [Stage],
    report: &Report,
) -> Vec<NotifyTarget> {
    let mut reader = GateReader {
        taken: Vec::new(),
        report,
    };
    let (gates, hooks) = (&document.gates, &document.hooks);
    if let Some(gate) = gates.get(GATES_MAX) {
        reader.add(
            gate.place,
            &format!("more than {GATES_MAX} gates"),
            "ask one that asks the others",
        );
    }
    if let Some(hook) = hooks.get(GATES_MAX) {
        reader.add(
            hook.place,
            &format!("more than {GATES_MAX} hooks"),
            "tell one that tells the others",
        );
    }
    let written = gates.iter().filter_map(|gate| gate.value.name.as_ref());
    let written = written.chain(hooks.iter().filter_map(|hook| hook.value.name.as_ref()));
    reader.take_names(written);
    for gate in gates {
        reader.close(gate, stages);
    }
    let mut told = Vec::new();
    for hook in hooks {
        told.extend(reader.hook(flag, &hook.value, stages));
    }
    told
}

struct GateReader<'a> {
    /// The names that are in use.
    taken: Vec<TargetName>,
    report: &'a Report,
}

impl GateReader<'_> {
    fn add(&self, place: Place, problem: &str, hint: &str) {
        self.report.add(place, Problem::new(problem).hint(hint));
    }

    /// Names that are written come before those that are made up.
    fn take_names<'d>(&mut self, written: impl Iterator<Item = &'d Written<TargetName>>) {
        for name in written {
            if self.taken.contains(&name.value) {
                let problem = format!("another gate or hook is named `{}`", name.value);
                self.add(name.place, &problem, "choose another name");
            }
            self.taken.push(name.value.clone());
        }
    }

    fn name(&mut self, written: Option<&Written<TargetName>>, made: &str) -> TargetName {
        match written {
            Some(name) => name.value.clone(),
            None => {
                let name = unused_name(made, &self.taken);
                self.taken.push(name.clone());
                name
            }
        }
    }

    /// Closes a gate before its stages.
    fn close(&mut self, gate: &Placed<GateDocument>, stages: &mut [Stage]) {
        let (place, document) = (gate.place, &gate.value);
        let keys = [
            document.approve.is_some(),
            document.webhook.is_some(),
            document.window.is_some(),
        ];
        match keys.iter().filter(|is_written| **is_written).count() {
            0 if self.report.has_problem_within(place) => {}
            0 => self.add(
                place,
                "nothing opens this gate",
                "add `approve: manual`, `webhook:` or `window:`",
            ),
            1 => {}
            _ => self.add(
                place,
                "a gate is opened by one of `approve`, `webhook` and `window`",
                "write a gate for each; all have to be open",
            ),
        }
        let kind = match (&document.webhook, &document.window) {
            (Some(webhook), _) => Some(GateKind::Webhook(Box::new(self.webhook(webhook)))),
            (None, Some(window)) => self.windows(window).map(GateKind::Window),
            (None, None) => None,
        };
        let gate = kind.map(|kind| {
            let made = match &kind {
                GateKind::Webhook(hook) => hook.url.host().to_owned(),
                GateKind::Window(_) => "window".to_owned(),
            };
            let name = self.name(document.name.as_ref(), &made);
            Gate { name, kind }
        });
        for stage in self.stages_behind(document, stages) {
            match document.approve {
                Some(ApproveDocument::Manual) => stage.needs_approval = true,
                None => stage.gates.extend(gate.clone()),
            }
        }
    }

    /// The stages of a weight: those for everyone, or where there is none with that weight, those for
    /// groups; all where no weight is written.
    fn stages_behind<'s>(
        &self,
        document: &GateDocument,
        stages: &'s mut [Stage],
    ) -> Vec<&'s mut Stage> {
        let Some(before) = &document.before else {
            return stages.iter_mut().collect();
        };
        let weights: Vec<_> = stages.iter().map(|stage| stage.shape.weight).collect();
        let has_weight = |stage: &&mut Stage| stage.shape.weight == before.value;
        let is_for_everyone = |stage: &Stage| stage.shape.groups.is_empty();
        let mut meant: Vec<_> = stages.iter_mut().filter(has_weight).collect();
        if meant.iter().any(|stage| is_for_everyone(stage)) {
            meant.retain(|stage| is_for_everyone(stage));
        }
        if meant.is_empty() {
            let problem = format!("no stage has a weight of {}", before.value);
            let mut weights: Vec<_> = weights.iter().map(ToString::to_string).collect();
            weights.dedup();
            let hint = format!("write one of {}", weights.join(", "));
            self.add(before.place, &problem, &hint);
        }
        meant
    }

    /// A hook: a gate before each stage, or somebody who is told.
    fn hook(
        &mut self,
        flag: &FlagName,
        document: &HookDocument,
        stages: &mut [Stage],
    ) -> Option<NotifyTarget> {
        let webhook = self.webhook(&document.webhook);
        let name = self.name(document.name.as_ref(), webhook.url.host());
        let occasion = match document.on {
            OccasionDocument::BeforeStage => {
                let kind = GateKind::Webhook(Box::new(webhook));
                let gate = Gate { name, kind };
                stages
                    .iter_mut()
                    .for_each(|stage| stage.gates.push(gate.clone()));
                return None;
            }
            OccasionDocument::AfterStage => Occasion::AfterStage,
            OccasionDocument::Rollback => Occasion::Rollback,
            OccasionDocument::Success => Occasion::Success,
        };
        let timeout = self.told_timeout(&document.webhook);
        Some(NotifyTarget {
            url: webhook.url,
            format: NotifyFormat::Json,
            phases: Vec::new(),
            flags: vec![flag.clone()],
            headers: webhook.headers,
            timeout,
            authorities: Vec::new(),
            hook: Some(HookTold {
                name: name.clone(),
                on: occasion,
                metadata: webhook.metadata,
            }),
            name,
        })
    }

    /// How long a hook that is told may take; whatever is for those that are asked is refused.
    fn told_timeout(&self, webhook: &AnyWebhookDocument) -> Duration {
        let ShortOr::Long(Placed { value, .. }) = webhook else {
            return NOTIFY_TIMEOUT;
        };
        let attempts = value
            .attempts
            .as_ref()
            .map(|attempts| ("attempts", attempts.place));
        let every = value.every.as_ref().map(|every| ("every", every.place));
        for (key, place) in attempts.into_iter().chain(every) {
            let problem = format!("`{key}` is for hooks that are asked, before stages");
            let hint = "remove it: what is told is sent again until it has arrived";
            self.add(place, &problem, hint);
        }
        let Some(timeout) = &value.timeout else {
            return NOTIFY_TIMEOUT;
        };
        self.check_timeout(timeout, NOTIFY_TIMEOUT_MAX);
        timeout.value.0
    }

    fn webhook(&self, written: &AnyWebhookDocument) -> Webhook {
        let document = match written {
            ShortOr::Long(document) => &document.value,
            ShortOr::Short(url) => return plain(url.value.clone()),
        };
        let WebhookDocument {
            url,
            timeout,
            attempts,
            every,
            headers: fields,
            metadata,
        } = document;
        if let Some(timeout) = timeout {
            self.check_timeout(timeout, GATE_TIMEOUT_MAX);
        }
        if let Some(every) = every
            .as_ref()
            .filter(|every| every.value.0 < GATE_EVERY_MIN)
        {
            let problem = "that often is more than a webhook likes to be asked";
            self.add(every.place, problem, "write `1s` or more");
        }
        let plain = plain(url.value.clone());
        let attempts = attempts.as_ref().map(
            |Placed {
                 value: Count(count),
                 ..
             }| *count,
        );
        Webhook {
            headers: headers(fields),
            timeout: timeout
                .as_ref()
                .map_or(plain.timeout, |timeout| timeout.value.0),
            attempts: attempts
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(plain.attempts),
            every: every.as_ref().map_or(plain.every, |every| every.value.0),
            metadata: metadata
                .as_ref()
                .map(|metadata| self.metadata(metadata))
                .unwrap_or_default(),
            ..plain
        }
    }

    fn check_timeout(&self, written: &Written<Span>, longest: Duration) {
        if written.value.0 > longest {
            let shown = |duration| humantime::format_duration(duration).to_string();
            let problem = format!(
                "`{}` is longer than `{}`",
                shown(written.value.0),
                shown(longest)
            );
            let hint = "let it answer at once whether it is ready; it is asked again";
            self.add(written.place, &problem, hint);
        }
    }

    fn metadata(
        &self,
        written: &Placed<Named<String, Written<String>>>,
    ) -> BTreeMap<String, String> {
        let entries = written.value.0.iter();
        let entries = entries.filter_map(|entry| {
            let value = entry.value.as_ref()?.value.clone();
            Some((entry.name.value.clone(), value))
        });
        let metadata: BTreeMap<_, _> = entries.collect();
        let is_long =
            |(key, value): (&String, &String)| key.len() + value.len() > METADATA_BYTES_MAX;
        if metadata.len() > METADATA_MAX || metadata.iter().any(is_long) {
            let problem = format!(
                "more than {METADATA_MAX} entries, or one of more than {METADATA_BYTES_MAX} bytes"
            );
            self.add(
                written.place,
                &problem,
                "pass on less: it goes into each question",
            );
        }
        metadata
    }
}

/// A webhook with all defaults.
fn plain(url: WebhookUrl) -> Webhook {
    Webhook {
        url,
        headers: HeaderMap::new(),
        timeout: GATE_TIMEOUT,
        attempts: GATE_ATTEMPTS,
        every: GATE_EVERY,
        metadata: BTreeMap::new(),
    }
}

/// Gives hooks that are told names that no other target has, and puts them behind the others.
pub(super) fn with_hooks(
    mut targets: Vec<NotifyTarget>,
    flags: &[FlagConfig],
) -> Vec<NotifyTarget> {
    let mut taken: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
    for FlagConfig { flag, rollout } in flags {
        for hook in rollout.iter().flat_map(|rollout| &rollout.hooks) {
            let name = unused_name(&format!("{}.{}", flag.name, hook.name), &taken);
            taken.push(name.clone());
            targets.push(NotifyTarget {
                name,
                ..hook.clone()
            });
        }
    }
    targets
}
