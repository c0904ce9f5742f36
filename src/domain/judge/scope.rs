//! What a check looks at: all callers together, or one group alone.
//!
//! Both arms are compared within each stratum and the differences are added. Summing over all
//! groups finds what harms everyone a little; looking at each group alone finds what harms one
//! of them a lot.

use crate::domain::evidence::{ArmCounts, Stratum, TickCounts};
use crate::domain::ids::GroupName;
use crate::domain::judge::settings::JudgeSettings;
use crate::domain::judge::verdict::Assessment;
use crate::domain::stats::intervals::Excess;
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;

/// How far above the tolerated a passing check may lie, in standard errors.
///
/// One: a healthy canary lies on either side of stable by chance, and would wait for luck
/// without it; a harmful one is held as soon as its harm stands out of the noise.
const PASS_STANDARD_ERRORS: f64 = 1.0;

/// What the judge has to know of the stage besides the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageContext {
    /// The epoch of the stage's weights: what was decided under another one is not counted.
    pub epoch: u64,
    /// When canary has warmed up: what ended before is not counted.
    pub counted_from: Timestamp,
    /// Requests of canary that each check needs before it can pass.
    pub min_requests: u64,
    /// Whether any exposed group is split between the arms, so that there is a comparison.
    pub has_control: bool,
}

/// The strata one check looks at.
pub(super) struct Scope<'a> {
    /// The group, when it is looked at alone.
    pub(super) group: Option<&'a GroupName>,
    /// How the reason begins: empty, or which callers alone.
    pub(super) prefix: String,
    /// Strata in which both arms were seen and chance decided between them.
    pub(super) strata: Vec<&'a Stratum>,
}

impl<'a> Scope<'a> {
    /// All comparable strata together, then, when there are several, each alone.
    pub(super) fn all(counts: &'a TickCounts) -> (Self, Vec<Self>) {
        let strata: Vec<_> = counts.strata().iter().filter(is_comparable).collect();
        let alone = if strata.len() > 1 {
            strata.iter().copied().map(Self::alone).collect()
        } else {
            Vec::new()
        };
        let together = Self {
            group: None,
            prefix: String::new(),
            strata,
        };
        (together, alone)
    }

    fn alone(stratum: &'a Stratum) -> Self {
        let prefix = stratum.group.as_ref().map_or_else(
            || "among callers in no group, ".to_owned(),
            |group| format!("in group `{group}`, "),
        );
        Self {
            group: stratum.group.as_ref(),
            prefix,
            strata: vec![stratum],
        }
    }

    /// Adds up one number of each arm over the strata.
    pub(super) fn sum(&self, number: impl Fn(&ArmCounts) -> u64) -> PerVariant<u64> {
        PerVariant::from_fn(|variant| {
            let arms = self.strata.iter().map(|stratum| stratum.arms.get(variant));
            arms.map(&number).sum()
        })
    }
}

fn is_comparable(stratum: &&Stratum) -> bool {
    let arms = &stratum.arms;
    stratum.has_control() && arms.stable.requests > 0 && arms.canary.requests > 0
}

/// How many requests a check needs, and how sure it must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demands {
    /// Requests of each arm without which nothing passes; at least one.
    pub(super) to_pass: PerVariant<u64>,
    /// Requests of each arm without which nothing is a breach.
    pub(super) to_breach: u64,
    /// Standard errors that make a breach.
    pub(super) standard_errors: f64,
}

impl Demands {
    pub(super) fn new(settings: &JudgeSettings, stage: &StageContext) -> Self {
        Self {
            to_pass: PerVariant {
                stable: settings.stable_requests_min.min(stage.min_requests).max(1),
                canary: stage.min_requests.max(1),
            },
            to_breach: settings.breach_requests_min,
            standard_errors: settings.standard_errors,
        }
    }

    /// What a part of the stage must show to bear out harm found in the whole: a third of the
    /// evidence stands out less, so one standard error is enough, and any number of requests.
    pub(super) const fn of_a_part(self) -> Self {
        Self {
            to_breach: 1,
            standard_errors: 1.0,
            ..self
        }
    }

    /// What a comparison amounts to, given the requests behind it.
    pub(super) fn assess(&self, excess: &Excess, n: PerVariant<u64>) -> Assessment {
        let may_breach = n.canary.min(n.stable) >= self.to_breach;
        if may_breach && excess.is_beyond_chance(self.standard_errors) {
            Assessment::Breach
        } else if n.canary < self.to_pass.canary || n.stable < self.to_pass.stable {
            Assessment::NeedsData
        } else if excess.is_within(PASS_STANDARD_ERRORS) {
            Assessment::Pass
        } else {
            Assessment::Undecided
        }
    }

    /// What an absolute guard amounts to: it looks at canary alone.
    pub(super) fn assess_guard(&self, guard: Guard, n_canary: u64) -> Assessment {
        if n_canary >= self.to_breach && guard.lower_bound > guard.limit {
            Assessment::Breach
        } else if n_canary < self.to_pass.canary {
            Assessment::NeedsData
        } else if guard.value <= guard.limit {
            Assessment::Pass
        } else {
            Assessment::Undecided
        }
    }

    /// What the reason says after the numbers.
    pub(super) fn remark(&self, assessment: Assessment, n: PerVariant<u64>) -> String {
        let need = self.to_pass;
        match assessment {
            Assessment::Pass | Assessment::Breach => String::new(),
            Assessment::Undecided => {
                "; more than tolerated, but it could still be chance".to_owned()
            }
            Assessment::NeedsData if n.canary < need.canary => {
                format!("; needs {} of canary, has {}", need.canary, n.canary)
            }
            Assessment::NeedsData => {
                format!("; needs {} of stable, has {}", need.stable, n.stable)
            }
        }
    }
}

/// A value of canary against a fixed limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    /// The value as seen.
    pub(super) value: f64,
    /// The least it can truly be, within the reach of chance.
    pub(super) lower_bound: f64,
    /// The limit.
    pub(super) limit: f64,
}

impl Guard {
    /// How near the value certainly is to the limit: above 1 it is beyond it.
    pub(super) fn evidence(&self) -> f64 {
        if self.limit > 0.0 {
            (self.lower_bound / self.limit).max(0.0)
        } else {
            f64::from(u8::from(self.lower_bound > self.limit))
        }
    }
}
