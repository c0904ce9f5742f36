//! Flags that are defined at run time, beside the file: read by the reader of the file's own.
//!
//! The file is read once more as it was, the definitions are added to its flags as if they stood
//! last below `flags`, and all is understood together. So a definition may say whatever a flag of the
//! file may, refers to what the file has, and is told all that is wrong with it. What the file names
//! of other files is of no concern here and not read again.

use std::collections::BTreeMap;
use std::env::VarError;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::domain::ids::{FlagName, RouteIndex};
use crate::domain::route::RouteTable;
use crate::domain::secret::Secret;

use crate::config::document::{Document, FlagDocument};
use crate::config::error::ConfigError;
use crate::config::flag::FlagConfig;
use crate::config::report::{Problem, Report};
use crate::config::tree::{self, Content, Node, Place};
use crate::config::written::{NamedEntry, Written};
use crate::config::{reader, understand, variables};

/// The longest definition, in bytes: a flag is a screen or two.
pub const DEFINITION_BYTES_MAX: usize = 16 * 1024;

/// What definitions stand beside: a file that is right in itself. By default one without anything.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    text: Arc<str>,
    /// What the file has taken from the environment.
    variables: Arc<BTreeMap<String, Secret>>,
}

/// What the flags of a file and those beside it come to.
#[derive(Clone, Debug)]
pub struct Defined {
    /// The flags beside the file, in the order of their names.
    pub flags: Vec<FlagConfig>,
    /// The file's routes, which may name flags beside it.
    pub routes: RouteTable,
}

/// Something wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionError {
    /// The flag.
    pub flag: FlagName,
    /// What is wrong; its path begins below the flag, its place is one of the definition's text.
    pub error: ConfigError,
}

/// A definition that was read.
struct Read<'a> {
    name: &'a FlagName,
    text: &'a str,
    node: Node,
}

impl Definitions {
    /// What stands beside a file.
    pub(super) fn beside(text: &str, variables: BTreeMap<String, String>) -> Self {
        let hidden = |(name, value): (String, String)| (name, Secret::new(value));
        Self {
            text: text.into(),
            variables: Arc::new(variables.into_iter().map(hidden).collect()),
        }
    }

    /// The line of the file at which a flag is declared, if it is.
    pub fn line_of(&self, flag: &FlagName) -> Option<usize> {
        let root = tree::read(&self.text, &Report::default()).ok()?;
        let mut flags = root.get("flags")?.entries().iter();
        let entry = flags.find(|entry| entry.name == flag.as_str())?;
        Some(tree::locate(&self.text, entry.key).line)
    }

    /// The flag that a route of the file names and that stands nowhere in it: it may be created at run time.
    pub fn awaited_by(&self, route: RouteIndex) -> Option<String> {
        let root = tree::read(&self.text, &Report::default()).ok()?;
        let Content::List(routes) = &root.get("routes")?.content else {
            return None;
        };
        let Content::Text(flag) = &routes.get(route.0)?.get("flag")?.content else {
            return None;
        };
        let flags = root.get("flags").map_or(&[][..], Node::entries);
        let is_there = flags.iter().any(|entry| *entry.name == **flag);
        (!is_there).then(|| flag.to_string())
    }

    /// Reads definitions, each JSON or YAML as it would stand below the flag's name.
    ///
    /// # Errors
    /// Everything that is wrong with them, by flag.
    pub fn read(
        &self,
        definitions: &BTreeMap<FlagName, Arc<str>>,
    ) -> Result<Defined, Vec<DefinitionError>> {
        let report = Report::default();
        let unread = || of_all(definitions, "the configuration beside it cannot be read");
        let (mut root, mut next) =
            tree::read_from(&self.text, Place::ROOT, &report).map_err(|_| unread())?;
        let variable = |name: &str| {
            let known = self.variables.get(name);
            known
                .map(|value| value.reveal().to_owned())
                .ok_or(VarError::NotPresent)
        };
        variables::fill_in(&mut root, &variable, &report);
        let document: Option<Document> = reader::read(&root, &report);
        let mut document = document.ok_or_else(unread)?;
        let (mut parts, mut errors) = (Vec::new(), Vec::new());
        for (name, text) in definitions {
            match tree::read_from(text, next, &report) {
                Ok((node, after)) => {
                    next = after;
                    parts.push(Read { name, text, node });
                }
                Err(error) => errors.push(of_whole(name, &error.to_string())),
            }
        }
        for Read { name, node, .. } in &parts {
            refuse_variables(node, None, &report);
            let value: Option<FlagDocument> = reader::read(node, &report);
            let (place, name) = (node.place, (*name).clone());
            let name = Written { place, value: name };
            document.flags.0.push(NamedEntry { name, value });
        }
        let no_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let mut config = understand(&document, &root, &no_file, &report);
        refuse_told_hooks(&parts, &config.flags, &report);
        for part in &parts {
            let found = report.errors_within(part.text, &part.node, part.node.place);
            let is_read = config.flags.iter().any(|it| it.flag.name == *part.name);
            if found.is_empty() && !is_read {
                errors.push(of_whole(part.name, "it cannot be read"));
            }
            errors.extend(found.into_iter().map(|error| DefinitionError {
                flag: part.name.clone(),
                error,
            }));
        }
        errors.extend(self.of_routes(&document, &root, definitions, &report));
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Defined {
            flags: config
                .flags
                .split_off(config.flags.len().saturating_sub(parts.len())),
            routes: config.routes,
        })
    }
}

impl Definitions {
    /// What is wrong with the file's routes that name a flag beside it: without that flag nothing was.
    fn of_routes(
        &self,
        document: &Document,
        root: &Node,
        definitions: &BTreeMap<FlagName, Arc<str>>,
        report: &Report,
    ) -> Vec<DefinitionError> {
        let mut errors = Vec::new();
        let routes = document.routes.as_ref();
        for route in routes.map_or(&[][..], |routes| &routes.value) {
            let named = route.value.flag.as_ref();
            let mut flags = definitions.keys();
            let flag = flags.find(|flag| named.is_some_and(|named| named.value == flag.as_str()));
            if let Some(flag) = flag {
                let found = report.errors_within(&self.text, root, route.place);
                errors.extend(found.into_iter().map(|error| DefinitionError {
                    flag: flag.clone(),
                    error,
                }));
            }
        }
        errors
    }
}

/// Whom hooks tell is prepared with the file, whose `notify` tells of all flags.
fn refuse_told_hooks(parts: &[Read<'_>], flags: &[FlagConfig], report: &Report) {
    for part in parts {
        let mut named = flags.iter();
        let config = named.find(|it| it.flag.name == *part.name);
        let rollout = config.and_then(|config| config.rollout.as_ref());
        if rollout.is_none_or(|rollout| rollout.hooks.is_empty()) {
            continue;
        }
        let hooks = part.node.get("rollout").and_then(|it| it.get("hooks"));
        let place = hooks.map_or(part.node.place, |hooks| hooks.place);
        let problem = "hooks that are told work for flags of the file only";
        let hint = "keep `before_stage`, and have `notify` of the file tell the rest";
        report.add(place, Problem::new(problem).hint(hint));
    }
}

/// Whoever may define a flag is not to read what the environment holds.
fn refuse_variables(node: &Node, key: Option<&str>, report: &Report) {
    match &node.content {
        Content::Text(text) => {
            let own = if key == Some("salt") {
                "${revision}"
            } else {
                ""
            };
            let rest = if own.is_empty() {
                text.clone()
            } else {
                text.replace(own, "")
            };
            if rest.contains("${") {
                let problem = Problem::new("`${…}` is filled in in the file only, and not here");
                report.add(node.place, problem.hint("write the value itself"));
                report.refuse(node.place);
            }
        }
        Content::List(items) => {
            for item in items {
                refuse_variables(item, key, report);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                refuse_variables(&entry.value, Some(&entry.name), report);
            }
        }
        _ => {}
    }
}

fn of_whole(flag: &FlagName, problem: &str) -> DefinitionError {
    let error = ConfigError::new((1, 1), String::new(), problem.to_owned(), None);
    DefinitionError {
        flag: flag.clone(),
        error,
    }
}

fn of_all(definitions: &BTreeMap<FlagName, Arc<str>>, problem: &str) -> Vec<DefinitionError> {
    let flags = definitions.keys();
    flags.map(|flag| of_whole(flag, problem)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{BackendIndex, FlagIndex};
    use crate::domain::route::RouteTarget;

    const FILE: &str = "\
listeners: [{ address: 0.0.0.0:8080, tls: { certificates: [{ cert: a.pem, key: a.key }] } }]
identity: [{ header: x-user-id }]
groups: { listed: { callers_file: gone.txt }, beta: { header: { x-beta: \"1\" } } }
backends: { v1: \"http://${HOST}:1\", v2: http://10.0.0.2 }
flags:
  shop:
    { stable: v1, canary: v2, enabled: \"${ON}\" }
routes: [{ path: /, flag: shop }, { path: /new, flag: new, backend: v2 }]
";

    fn beside() -> Definitions {
        let variables = [("HOST", "10.0.0.1"), ("ON", "true")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Definitions::beside(FILE, variables.into())
    }

    fn read(definitions: &[(&str, &str)]) -> Result<Defined, Vec<String>> {
        let named = definitions.iter();
        let named = named.map(|(name, text)| (name.parse().unwrap(), Arc::from(*text)));
        let read = beside().read(&named.collect());
        read.map_err(|errors| {
            let told = errors.iter();
            told.map(|error| format!("{} {}", error.flag, error.error))
                .collect()
        })
    }

    #[test]
    fn a_definition_means_what_it_would_mean_in_the_file() {
        let text = "{\n\t\"stable\": \"v2\",\n\t\"canary\": \"v1\", \"enabled\": false,\
                    \"groups\": {\"beta\": \"20%\", \"listed\": \"5%\"},\
                    \"salt\": \"\\u00e9\\/${revision}\"}";
        let defined = read(&[("new", text), ("also", r#"{"stable":"v1","canary":"v2"}"#)]).unwrap();
        let [also, new] = &defined.flags[..] else {
            panic!("{defined:?}");
        };
        assert_eq!((also.flag.name.as_str(), also.flag.enabled), ("also", true));
        let flag = &new.flag;
        assert_eq!((flag.name.as_str(), flag.enabled), ("new", false));
        assert_eq!(&*flag.salt, "é/${revision}");
        let backends = flag.backends.unwrap();
        assert_eq!((backends.stable.0, backends.canary.0), (1, 0));
        let groups: Vec<_> = flag
            .weights
            .groups
            .iter()
            .map(|entry| entry.group.0)
            .collect();
        assert_eq!(groups, [0, 1]);
        assert!(read(&[]).unwrap().flags.is_empty());
        let target = |defined: Defined| defined.routes.iter().last().map(|(_, it)| it.target);
        let flag = FlagIndex(2);
        assert_eq!(target(defined), Some(RouteTarget::Flag { flag, backends }));
        let backend = RouteTarget::Backend(BackendIndex(1));
        assert_eq!(target(read(&[]).unwrap()), Some(backend));
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place_in_the_definition() {
        let wrong = "{\"stable\": \"v3\",\n \"canray\": \"v2\", \"default\": 5,\n \
                     \"salt\": \"${HOST}\"}";
        let right = r#"{"stable":"v1","canary":"v2"}"#;
        let told = read(&[("a", right), ("b", wrong), ("c", "[1]"), ("d", "{")]).unwrap_err();
        let expected = [
            "d 1:1: did not find expected node content",
            "b 1:12: stable: no backend is named `v3`; did you mean `v1`?",
            "b 2:2: canray: unknown key `canray`; did you mean `canary`?",
            "b 2:29: default: expected a percentage such as `25%`, found the number `5`; write `5%`",
            "b 3:10: salt: `${…}` is filled in in the file only, and not here; write the value itself",
            "c 1:1: ",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told} is not {expected}");
        }
    }

    #[test]
    fn nothing_of_the_environment_is_shown() {
        let shown = format!("{:?}", beside());
        assert!(!shown.contains("10.0.0.1"), "{shown}");
        let line = |flag: &str| beside().line_of(&flag.parse().unwrap());
        assert_eq!((line("shop"), line("new")), (Some(6), None));
    }
}
