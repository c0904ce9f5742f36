//! What flags need of each other.

use crate::domain::ids::{FlagIndex, VariantName};
use crate::domain::prerequisite::{CHAIN_MAX, NeededVariant, Prerequisite, REQUIRED_MAX};
use crate::domain::variant::Variant;

use crate::config::document::{FlagDocument, RequirementDocument};
use crate::config::flag::FlagReader;
use crate::config::suggest;
use crate::config::written::{ShortOr, Written};

impl FlagReader<'_> {
    pub(super) fn requires(&self, document: &FlagDocument) -> Box<[Prerequisite]> {
        if let Some(first) = document.requires.get(REQUIRED_MAX) {
            let problem = format!("more than {REQUIRED_MAX} flags that one needs");
            let hint = "let one flag need several of them, and this one need it";
            self.refuse(parts(first).0.place, &problem, hint);
        }
        let mut seen: Vec<&str> = Vec::new();
        let mut prerequisite = |requirement| {
            let (name, variant) = parts(requirement);
            if seen.contains(&name.value.as_str()) {
                let problem = format!("`{}` is needed already", name.value);
                self.refuse(name.place, &problem, "name each flag once");
                return None;
            }
            seen.push(&name.value);
            let flag = self.flags.0.resolve(name, self.report)?;
            let variant = match variant {
                None => NeededVariant::NotOff,
                Some(variant) => NeededVariant::At(self.place_of(flag, variant)?),
            };
            Some(Prerequisite {
                flag: FlagIndex(flag),
                variant,
            })
        };
        let requirements = document.requires.iter().take(REQUIRED_MAX);
        requirements.filter_map(&mut prerequisite).collect()
    }

    /// The place of a variant of another flag.
    fn place_of(&self, flag: usize, variant: &Written<VariantName>) -> Option<usize> {
        let other = self.flags.1.0.get(flag)?.value.as_ref()?;
        let names: Vec<&str> = match &other.variants {
            Some(variants) => {
                let names = variants.value.0.iter();
                names.map(|entry| entry.name.value.as_str()).collect()
            }
            None => Variant::ALL
                .iter()
                .map(|variant| variant.as_str())
                .collect(),
        };
        let wanted = variant.value.as_str();
        let place = names.iter().position(|name| *name == wanted);
        if place.is_none() {
            let problem = format!("the flag has no variant `{wanted}`");
            let hint = suggest::hint_with_all(wanted, names);
            self.refuse(variant.place, &problem, &hint.unwrap_or_default());
        }
        place
    }

    /// Refuses flags that need themselves by way of others, each circle once, and chains that are too long.
    pub(super) fn refuse_circles(&self) {
        let count = self.flags.1.0.len();
        let mut search = Search {
            reader: self,
            lengths: vec![None; count],
            way: Vec::new(),
        };
        for flag in 0..count {
            search.length(flag);
        }
    }
}

fn parts(
    requirement: &ShortOr<Written<String>, RequirementDocument>,
) -> (&Written<String>, Option<&Written<VariantName>>) {
    match requirement {
        ShortOr::Short(flag) => (flag, None),
        ShortOr::Long(RequirementDocument { flag, variant }) => (flag, variant.as_ref()),
    }
}

/// A walk from flag to flag, as deep as the longest chain that is let pass.
struct Search<'a> {
    reader: &'a FlagReader<'a>,
    /// How many flags are in the longest chain from each one on, once that is known.
    lengths: Vec<Option<usize>>,
    way: Vec<usize>,
}

impl Search<'_> {
    fn length(&mut self, flag: usize) -> usize {
        if let Some(length) = self.lengths[flag] {
            return length;
        }
        let (names, documents) = self.reader.flags;
        let document = documents.0[flag].value.as_ref();
        self.way.push(flag);
        let mut longest = 0;
        for requirement in document.map_or(&[][..], |document| &document.requires) {
            let (name, _) = parts(requirement);
            let Some(next) = names.place_of(&name.value) else {
                continue;
            };
            if let Some(begin) = self.way.iter().position(|one| *one == next) {
                let named = |flag: &usize| documents.0[*flag].name.value.to_string();
                let circle = self.way[begin..].iter().chain([&next]).map(named);
                let circle: Vec<_> = circle.collect();
                let problem = format!("flags need each other in a circle: {}", circle.join(" -> "));
                self.reader
                    .refuse(name.place, &problem, "remove one of them");
                continue;
            }
            let depth = self.way.len();
            let length = if depth < CHAIN_MAX {
                self.length(next)
            } else {
                1
            };
            if depth + length > CHAIN_MAX {
                let problem =
                    format!("a chain of more than {CHAIN_MAX} flags that need each other");
                self.reader
                    .refuse(name.place, &problem, "let the first need the last");
                continue;
            }
            longest = longest.max(length);
        }
        self.way.pop();
        self.lengths[flag] = Some(longest + 1);
        longest + 1
    }
}
