//! Which of the flags that were created go together with a configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::config::{DefinitionError, dump_flag};
use crate::control::installation::{FlagRefusal, NewConfiguration};
use crate::control::perform::line;
use crate::control::ports::Transition;
use crate::domain::ids::FlagName;
use crate::domain::rollout::JournalEntry;
use crate::domain::secret::HIDDEN;

/// The longest definition that the journal shows whole, in characters.
const SHOWN_CHARS_MAX: usize = 1_000;

/// Definitions by flag.
pub(crate) type Texts = BTreeMap<FlagName, Arc<str>>;

/// A flag that was created at run time and does not fit the configuration. It comes back with one that it fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlagLeftAside {
    /// The flag.
    pub flag: FlagName,
    /// What does not fit.
    pub why: String,
}

/// Why definitions do not fit, by flag.
pub(super) type Reasons = BTreeMap<FlagName, String>;

/// The flags that were created, and what they stand beside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Created {
    /// Those that are in force.
    pub(super) texts: Texts,
    /// The same as they may be shown.
    shown: BTreeMap<FlagName, Value>,
    /// Those that do not fit the configuration they were found beside. They come back with one that
    /// they fit.
    pub(super) aside: Texts,
    /// Why these do not fit.
    reasons: Reasons,
    /// The configuration without them.
    pub(super) base: NewConfiguration,
}

impl Created {
    /// Created flags as they were written down; the first configuration says which of them fit.
    pub(crate) fn found(saved: Texts) -> Self {
        Self {
            aside: saved,
            ..Self::default()
        }
    }

    /// Created flags beside a configuration that they fit, and those that do not fit it.
    pub(super) fn beside(
        base: NewConfiguration,
        texts: Texts,
        (aside, reasons): (Texts, Reasons),
    ) -> Self {
        let shown = texts
            .iter()
            .map(|(flag, text)| (flag.clone(), dump_flag(text)));
        Self {
            shown: shown.collect(),
            texts,
            aside,
            reasons,
            base,
        }
    }

    /// Puts a definition in force; gives the one before.
    pub(super) fn insert(&mut self, flag: &FlagName, text: &Arc<str>) -> Option<Arc<str>> {
        let aside = self.aside.remove(flag);
        self.reasons.remove(flag);
        self.shown.insert(flag.clone(), dump_flag(text));
        let before = self.texts.insert(flag.clone(), Arc::clone(text));
        before.or(aside)
    }

    /// Takes a definition out; gives it.
    pub(super) fn remove(&mut self, flag: &FlagName) -> Option<Arc<str>> {
        self.shown.remove(flag);
        self.texts.remove(flag).or_else(|| self.aside.remove(flag))
    }

    /// The definition of a flag as JSON, without its secrets.
    pub(super) fn definition(&self, flag: &FlagName) -> Option<Value> {
        self.shown.get(flag).cloned()
    }

    /// Those that do not fit, with the reasons.
    pub(super) fn left_aside(&self) -> Vec<FlagLeftAside> {
        let left = self.aside.keys().map(|flag| FlagLeftAside {
            flag: flag.clone(),
            why: self.reasons.get(flag).cloned().unwrap_or_default(),
        });
        left.collect()
    }

    /// The line of the configuration that declares a flag, if one does.
    pub(super) fn declared(&self, flag: &FlagName) -> Option<usize> {
        let mut flags = self.base.routing.flags.iter();
        let is_declared = flags.any(|known| known.name == *flag);
        is_declared.then(|| self.base.definitions.line_of(flag).unwrap_or(1))
    }

    pub(super) fn has(&self, flag: &FlagName) -> bool {
        self.texts.contains_key(flag) || self.aside.contains_key(flag)
    }
}

/// A configuration with the flags of definitions added.
pub(super) fn completed(
    base: &NewConfiguration,
    texts: &Texts,
) -> Result<NewConfiguration, Vec<DefinitionError>> {
    let mut whole = base.clone();
    if texts.is_empty() {
        return Ok(whole);
    }
    let defined = base.definitions.read(texts)?;
    whole.routing.routes = Arc::new(defined.routes);
    for config in defined.flags {
        whole.add(config);
    }
    Ok(whole)
}

/// Moves those that fit from one set of definitions to another; gives the configuration with them, and why the
/// others do not fit.
pub(super) fn fitted(
    base: &NewConfiguration,
    texts: &mut Texts,
    aside: &mut Texts,
) -> Result<(NewConfiguration, Reasons), Vec<DefinitionError>> {
    let mut reasons = Reasons::new();
    let mut all = texts.clone();
    all.extend(
        aside
            .iter()
            .map(|(flag, text)| (flag.clone(), Arc::clone(text))),
    );
    let errors = match completed(base, &all) {
        Ok(whole) => {
            *texts = all;
            aside.clear();
            return Ok((whole, reasons));
        }
        Err(errors) => errors,
    };
    // Whoever is wrong is left out, and then whoever names one that is left out.
    let mut left_out: Vec<_> = errors
        .into_iter()
        .filter(|it| aside.contains_key(&it.flag))
        .collect();
    loop {
        for error in &left_out {
            all.remove(&error.flag);
            reasons.insert(error.flag.clone(), error.error.to_string());
            tracing::error!(flag = %error.flag, "created flag does not fit the configuration: {}", error.error);
        }
        match completed(base, &all) {
            Ok(whole) => {
                aside.retain(|flag, _| !all.contains_key(flag));
                *texts = all;
                return Ok((whole, reasons));
            }
            Err(errors) => {
                let (wrong, firm): (Vec<_>, Vec<_>) = errors
                    .into_iter()
                    .partition(|it| aside.contains_key(&it.flag));
                if wrong.is_empty() {
                    return Err(firm);
                }
                left_out = wrong;
            }
        }
    }
}

/// Why a configuration does not go together with a flag that was created.
pub(super) fn unfit(error: DefinitionError) -> FlagRefusal {
    let DefinitionError { flag, error } = error;
    let path = if error.path.is_empty() {
        String::new()
    } else {
        format!("`{}`: ", error.path)
    };
    let problem = format!(
        "flag `{flag}`, which was created at run time, would not fit: {path}{}",
        error.problem
    );
    FlagRefusal {
        hint: format!("delete it first: serin flag delete {flag}"),
        flag,
        key: None,
        problem,
    }
}

/// What is written down of created flags whose names the file declares now.
pub(super) fn in_favour_of_file(given_way: Texts) -> Transition {
    let mut gone = Transition::default();
    for (flag, text) in given_way {
        let entry = JournalEntry {
            who: "configuration".to_owned(),
            what: format!("created definition dropped: {}", shown(&text)),
            why: "the configuration declares the flag now".to_owned(),
            findings: Vec::new(),
        };
        tracing::warn!(%flag, why = entry.why, "{}", entry.what);
        gone.lines.push(line(&flag, entry));
        gone.created.push((flag, None));
    }
    gone
}

/// What is wrong with a definition in which something stands that is shown in the place of a secret: whoever
/// has been shown a definition and brings it back would make that the secret.
pub(super) fn hidden_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(definition) = serde_json::from_str(text) {
        find_hidden(&definition, "", &mut found);
    }
    found
}

fn find_hidden(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let is_shown =
                text.ends_with(&format!("?{HIDDEN}")) || text.contains(&format!("//{HIDDEN}@"));
            if text == HIDDEN || is_shown {
                found.push(format!(
                    "{path}: `{HIDDEN}` is shown in the place of a secret; write the secret itself"
                ));
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                find_hidden(item, &format!("{path}[{place}]"), found);
            }
        }
        Value::Object(entries) => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, value) in entries {
                find_hidden(value, &format!("{path}{dot}{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A definition on one line: as it was written, if it has no secrets, and else without them.
pub(super) fn shown(text: &str) -> String {
    let dumped = dump_flag(text);
    let has_none = serde_json::from_str::<Value>(text).is_ok_and(|written| written == dumped);
    let line = if has_none {
        // No text of JSON goes over the end of a line.
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        lines.join(" ")
    } else {
        dumped.to_string()
    };
    match line.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", &line[..end], line.len()),
        None => line,
    }
}
