//! Finds what a name in the file refers to.

use crate::config::report::{Problem, Report};
use crate::config::suggest;
use crate::config::tree::Node;
use crate::config::written::{Named, Written};

/// The names of one section, in the file's order.
pub(super) struct Names<'d> {
    /// What one of them is called in a message: `group`.
    kind: &'static str,
    /// Names whose entries were read.
    read: Vec<&'d str>,
    /// All names that stand in the file, those with problems included.
    written: Vec<&'d str>,
}

impl<'d> Names<'d> {
    /// Takes the names of a section.
    pub(super) fn new<K, T>(
        kind: &'static str,
        section: &'d Named<K, T>,
        as_str: fn(&K) -> &str,
        written: Option<&'d Node>,
    ) -> Self {
        let mut names = Vec::new();
        for entry in written.map_or(&[][..], Node::entries) {
            if !names.contains(&&*entry.name) {
                names.push(&*entry.name);
            }
        }
        Self {
            kind,
            read: section
                .0
                .iter()
                .map(|entry| as_str(&entry.name.value))
                .collect(),
            written: names,
        }
    }

    /// The place of a name in its section.
    ///
    /// `None` where there is no such name, which is reported, or where its entry was refused,
    /// which has been.
    pub(super) fn resolve(&self, reference: &Written<String>, report: &Report) -> Option<usize> {
        let name = &*reference.value;
        let found = self.read.iter().position(|known| *known == name);
        if found.is_none() && !self.written.contains(&name) {
            let kind = self.kind;
            let problem = Problem::new(format!("no {kind} is named `{name}`"));
            // Some that can be named stand beside the file.
            let beside = self.read.iter().filter(|name| !self.written.contains(name));
            let hint = suggest::hint(name, self.written.iter().chain(beside).copied());
            let hint = hint.unwrap_or_else(|| format!("add one under `{kind}s`"));
            report.add(reference.place, problem.hint(hint));
        }
        found
    }

    /// Whether a name stands in the file, with problems or without.
    pub(super) fn is_written(&self, name: &str) -> bool {
        self.written.contains(&name)
    }

    /// The place of a name in its section, where nothing is wrong if there is none.
    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.read.iter().position(|known| *known == name)
    }

    /// As [`Self::resolve`], for a list that names nothing twice.
    pub(super) fn resolve_each(
        &self,
        references: &[Written<String>],
        report: &Report,
    ) -> Vec<usize> {
        let mut found = Vec::new();
        for reference in references {
            match self.resolve(reference, report) {
                Some(index) if found.contains(&index) => {
                    let problem = format!("{} `{}` is named twice", self.kind, reference.value);
                    report.add(
                        reference.place,
                        Problem::new(problem).hint("remove one of the two"),
                    );
                }
                Some(index) => found.push(index),
                None => {}
            }
        }
        found
    }
}
