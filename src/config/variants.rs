//! What a flag chooses between: two backends, or values under names of one's own.

use std::mem::discriminant;

use serde_json::Value;

use crate::domain::ids::{BackendIndex, VariantName};
use crate::domain::share::Share;
use crate::domain::variant::PerVariant;
use crate::domain::variants::{InvalidShare, NamedValue, Variants};

use crate::config::document::{FlagDocument, ShareDocument, ValuesDocument};
use crate::config::flag::FlagReader;
use crate::config::report::Problem;
use crate::config::suggest;
use crate::config::tree::Place;
use crate::config::value::AnyValue;
use crate::config::written::{Named, Placed, ShortOr, Written};

/// What a flag chooses between.
pub(super) struct Choice {
    pub(super) backends: Option<PerVariant<BackendIndex>>,
    pub(super) variants: Variants,
}

impl FlagReader<'_> {
    pub(super) fn choice(&self, document: &FlagDocument) -> Option<Choice> {
        if let Some(variants) = &document.variants {
            self.refuse_beside_variants(document, variants.place);
            let variants = self.named_values(variants, document.off.as_ref());
            return variants.map(|variants| Choice {
                backends: None,
                variants,
            });
        }
        if let Some(off) = &document.off {
            self.refuse(off.place, "`off` without `variants`", "remove `off`");
        }
        let values = document.values.as_ref();
        let values = values.map_or_else(PerVariant::default, |values| self.values(values));
        let backends = self.backends(document);
        backends.map(|backends| Choice {
            backends: Some(backends),
            variants: Variants::of_arms(values),
        })
    }

    /// What only flags between backends have.
    fn refuse_beside_variants(&self, document: &FlagDocument, place: Place) {
        let place_of = |written: &Option<Written<String>>| Some(written.as_ref()?.place);
        let others = [
            ("stable", place_of(&document.stable)),
            ("canary", place_of(&document.canary)),
            (
                "values",
                document.values.as_ref().map(|values| values.place),
            ),
            (
                "force",
                document.force.as_ref().map(|force| force.header.place),
            ),
            (
                "shield",
                document.shield.as_ref().map(|shield| shield.place),
            ),
            ("rollout", document.rollout.as_ref().map(|_| place)),
        ];
        for (key, place) in others {
            if let Some(place) = place {
                let problem = format!("`{key}` beside `variants`, which no backend serves");
                self.refuse(place, &problem, &format!("remove `{key}`, or `variants`"));
            }
        }
    }

    /// The values of a flag without backends.
    fn named_values(
        &self,
        section: &Placed<Named<VariantName, Placed<AnyValue>>>,
        off: Option<&Written<VariantName>>,
    ) -> Option<Variants> {
        let entries = &section.value.0;
        if self.report.has_problem_within(section.place) {
            return None;
        }
        if entries.len() < 2 {
            let hint = "write `variants: { on: true, off: false }`";
            self.refuse(section.place, "a flag has at least two variants", hint);
            return None;
        }
        let Some(off) = off else {
            let problem = "`off` is missing: what everybody has who gets no other";
            self.refuse(
                section.place,
                problem,
                "add `off:` with the name of one of them",
            );
            return None;
        };
        let given = entries.iter().filter_map(|entry| entry.value.as_ref());
        self.check_values(&given.collect::<Vec<_>>());
        let names = entries.iter().map(|entry| entry.name.value.as_str());
        let Some(place) = names.clone().position(|name| name == off.value.as_str()) else {
            let problem = format!("no variant is named `{}`", off.value);
            let hint = suggest::hint_with_all(off.value.as_str(), names);
            self.refuse(off.place, &problem, &hint.unwrap_or_default());
            return None;
        };
        let named = entries.iter().map(|entry| NamedValue {
            name: entry.name.value.clone(),
            value: entry
                .value
                .as_ref()
                .map_or(Value::Null, |value| value.value.0.clone()),
        });
        Variants::new(named.collect(), place)
    }

    /// The values of a flag between backends.
    fn values(&self, section: &Placed<ValuesDocument>) -> PerVariant<Option<Value>> {
        let ValuesDocument { stable, canary } = &section.value;
        let both: Vec<_> = stable.iter().chain(canary).collect();
        self.check_values(&both);
        if both.len() == 1 && !self.report.has_problem_within(section.place) {
            let problem = "there is a value for one of the two variants";
            self.refuse(
                section.place,
                problem,
                "write `values: { stable: …, canary: … }`",
            );
        }
        let value = |value: &Option<Placed<AnyValue>>| value.as_ref().map(|it| it.value.0.clone());
        PerVariant {
            stable: value(stable),
            canary: value(canary),
        }
    }

    /// An application asks for one type, whichever variant it is to get.
    fn check_values(&self, values: &[&Placed<AnyValue>]) {
        let Some(first) = values.first() else { return };
        for value in values {
            let (own, others) = (&value.value.0, &first.value.0);
            if own.is_null() {
                let hint = "write a boolean, number, text, list or map";
                self.refuse(value.place, "a variant has a value", hint);
            } else if !others.is_null() && discriminant(own) != discriminant(others) {
                let (own, others) = (kind(own), kind(others));
                let problem = format!("is {own}, while the first value of the flag is {others}");
                self.refuse(
                    value.place,
                    &problem,
                    "give all variants values of one type",
                );
            }
        }
    }

    /// Who gets which variant, of a group or of everyone else.
    pub(super) fn share(
        &self,
        document: &Placed<ShareDocument>,
        variants: Option<&Variants>,
    ) -> Option<Share> {
        let mut names = Vec::new();
        let share = match &document.value {
            ShortOr::Short(weight) => Share::Of(weight.value),
            ShortOr::Long(parts) => {
                names.extend(parts.0.iter().map(|part| &part.name));
                let parts = parts.0.iter().map(|part| {
                    let weight = part.value.as_ref()?.value;
                    Some((part.name.value.clone(), weight))
                });
                Share::Split(parts.collect::<Option<_>>()?)
            }
        };
        let problem = match variants?.normal(&share) {
            Ok(share) => return Some(share),
            Err(problem) => problem,
        };
        let (name, hint) = match &problem {
            InvalidShare::Unknown(name, _) => (Some(name), "name one of those"),
            InvalidShare::Off(name) => (Some(name), "remove it"),
            InvalidShare::TooMuch => (None, "lower one of them"),
            InvalidShare::Unnamed(..) => (None, "write a map of variants and weights"),
        };
        let place_of = |name: &VariantName| {
            let named = names.iter().find(|written| written.value == *name);
            named.map(|written| written.place)
        };
        let place = name.and_then(place_of).unwrap_or(document.place);
        self.refuse(place, &problem.to_string(), hint);
        None
    }

    pub(super) fn refuse(&self, place: Place, problem: &str, hint: &str) {
        self.report.add(place, Problem::new(problem).hint(hint));
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
