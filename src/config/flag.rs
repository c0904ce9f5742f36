//! The flags.

use crate::domain::flag::{Flag, FlagWeights, Force, GroupWeight, Stickiness};
use crate::domain::hashing::HashScheme;
use crate::domain::ids::{BackendIndex, FlagName, GroupIndex};
use crate::domain::judge::sequential::Unit;
use crate::domain::share::Share;
use crate::domain::variant::PerVariant;
use crate::domain::variants::Variants;
use crate::domain::weight::Weight;

use crate::config::document::{
    FlagDocument, ForceDocument, HashDocument, ShareDocument, StickinessDocument,
};
use crate::config::further::FurtherReader;
use crate::config::names::Names;
use crate::config::report::{Problem, Report};
use crate::config::rollout::{self, RolloutConfig};
use crate::config::tree::Place;
use crate::config::written::{Named, NamedEntry, Placed, Written};

/// A flag, and the automation that moves its weights.
#[derive(Clone, Debug)]
pub struct FlagConfig {
    /// The flag; with a rollout, at weight zero for the groups of its stages and everyone else.
    pub flag: Flag,
    /// The automation; none where weights are set by hand.
    pub rollout: Option<RolloutConfig>,
}

/// What a flag may depend on.
pub(super) struct FlagReader<'a> {
    pub(super) backends: &'a Names<'a>,
    pub(super) groups: &'a Names<'a>,
    /// The flags' names, and what is written of them.
    pub(super) flags: (&'a Names<'a>, &'a Named<FlagName, FlagDocument>),
    /// Whether any identity source is named.
    pub(super) knows_callers: bool,
    pub(super) further: FurtherReader<'a>,
    pub(super) report: &'a Report,
}

impl FlagReader<'_> {
    /// Understands `flags`, in the file's order.
    pub(super) fn flags(&self, section: &Named<FlagName, FlagDocument>) -> Vec<FlagConfig> {
        let flag = |entry: &NamedEntry<FlagName, FlagDocument>| {
            self.flag(&entry.name.value, entry.value.as_ref()?)
        };
        self.refuse_circles();
        section.0.iter().filter_map(flag).collect()
    }

    fn flag(&self, name: &FlagName, document: &FlagDocument) -> Option<FlagConfig> {
        let choice = self.choice(document);
        let weights = self.weights(document, choice.as_ref().map(|it| &it.variants));
        let force = document.force.as_ref().map(|force| self.force(force));
        let of_variant = |written: &Option<Written<String>>| written.as_ref()?.value.parse().ok();
        let names = of_variant(&document.stable)
            .zip(of_variant(&document.canary))
            .filter(|_| choice.is_some())
            .map(|(stable, canary)| PerVariant { stable, canary });
        let rollout = document.rollout.as_ref();
        let known = (self.groups, &self.further);
        let rollout =
            rollout.map(|rollout| rollout::rollout((name, names), rollout, known, self.report));
        let (weights, rollout) = match rollout {
            None => (weights?, None),
            Some(None) => return None,
            Some(Some((rollout, exposed))) => (at_zero(exposed), Some(rollout)),
        };
        let stickiness = match document.stickiness {
            None | Some(StickinessDocument::Caller) => Stickiness::Caller,
            Some(StickinessDocument::Request) => Stickiness::Request,
        };
        let rollout = rollout.map(|mut rollout| {
            rollout.judge.unit = self.unit(stickiness);
            rollout
        });
        let requires = self.requires(document);
        let choice = choice?;
        let salt = document
            .salt
            .as_ref()
            .map_or(name.as_str(), |salt| &salt.value.0);
        let flag = Flag {
            name: name.clone(),
            salt: salt.into(),
            hash: document.hash.map_or_else(HashScheme::default, scheme),
            enabled: document.enabled.is_none_or(|enabled| enabled.0),
            stickiness,
            requires,
            force,
            shield: document
                .shield
                .as_ref()
                .is_some_and(|shield| shield.value.0),
            backends: choice.backends,
            variants: choice.variants,
            weights,
            epoch: 0,
            rolled_back: false,
            rolled_back_groups: Vec::new(),
        };
        Some(FlagConfig { flag, rollout })
    }

    /// What chance divides between the arms: callers, where they are known again and stay in theirs.
    const fn unit(&self, stickiness: Stickiness) -> Unit {
        match stickiness {
            Stickiness::Caller if self.knows_callers => Unit::Caller,
            Stickiness::Caller | Stickiness::Request => Unit::Request,
        }
    }

    pub(super) fn backends(&self, document: &FlagDocument) -> Option<PerVariant<BackendIndex>> {
        let FlagDocument { stable, canary, .. } = document;
        if let (Some(stable), Some(canary)) = (stable, canary)
            && stable.value == canary.value
        {
            let problem = format!("canary is the same backend as stable, `{}`", stable.value);
            let hint = "name the backend of the new version";
            self.report
                .add(canary.place, Problem::new(problem).hint(hint));
        }
        let resolve = |name: &Option<Written<String>>| {
            let backend = self.backends.resolve(name.as_ref()?, self.report);
            backend.map(BackendIndex)
        };
        let (stable, canary) = (resolve(stable), resolve(canary));
        Some(PerVariant {
            stable: stable?,
            canary: canary?,
        })
    }

    /// The weights set by hand, in the order of the top-level groups.
    fn weights(&self, document: &FlagDocument, variants: Option<&Variants>) -> Option<FlagWeights> {
        let groups = document.groups.as_ref();
        if document.rollout.is_some() {
            let groups = groups.map(|groups| ("groups", groups.place));
            let default = document
                .default
                .as_ref()
                .map(|share| ("default", share.place));
            groups
                .into_iter()
                .chain(default)
                .for_each(|(key, place)| self.beside_rollout(key, place));
        }
        let entries = groups.map_or(&[][..], |groups| &groups.value.0);
        let share = |entry: &NamedEntry<String, Placed<ShareDocument>>| {
            let group = self.groups.resolve(&entry.name, self.report);
            let share = self.share(entry.value.as_ref()?, variants);
            Some((GroupIndex(group?), share?))
        };
        let groups: Vec<_> = entries.iter().filter_map(share).collect();
        let default = document.default.as_ref();
        let default = default.map(|default| self.share(default, variants));
        let default = default.unwrap_or(Some(Share::NOBODY))?;
        FlagWeights::of_shares(variants?, groups, &default).ok()
    }

    fn beside_rollout(&self, key: &str, place: Place) {
        let problem = format!("`{key}` beside `rollout`, which sets the weights");
        let hint = format!("remove `{key}`, or write stages for these callers");
        self.report.add(place, Problem::new(problem).hint(hint));
    }

    fn force(&self, document: &ForceDocument) -> Force {
        let allowed = &document.groups;
        if allowed.value.is_empty() && !self.report.has_problem_within(allowed.place) {
            let problem = Problem::new("nobody may choose a variant");
            self.report
                .add(allowed.place, problem.hint("name at least one group"));
        }
        let groups = self.groups.resolve_each(&allowed.value, self.report);
        Force {
            header: document.header.value.0.clone(),
            groups: groups.into_iter().map(GroupIndex).collect(),
            after_rollback: document.after_rollback.is_some_and(|switch| switch.0),
        }
    }
}

const fn scheme(document: HashDocument) -> HashScheme {
    match document {
        HashDocument::Murmur3 => HashScheme::Murmur3,
        HashDocument::Unleash => HashScheme::Unleash,
        HashDocument::Growthbook => HashScheme::Growthbook,
        HashDocument::GrowthbookV1 => HashScheme::GrowthbookV1,
    }
}

/// Nobody gets the canary yet.
fn at_zero(mut groups: Vec<GroupIndex>) -> FlagWeights {
    groups.sort_unstable();
    groups.dedup();
    let weight = Weight::ZERO;
    FlagWeights {
        groups: groups
            .into_iter()
            .map(|group| GroupWeight { group, weight })
            .collect(),
        default: weight,
        ends: Vec::new(),
    }
}
