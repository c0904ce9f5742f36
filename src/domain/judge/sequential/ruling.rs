//! What the judge says after a tick, in numbers.

use smallvec::SmallVec;

use crate::domain::judge::sequential::check::{Check, PerCheck};
use crate::domain::judge::sequential::promotion::{Harmlessness, NonInferiority};
use crate::domain::judge::verdict::Action;

/// The judge's answer to everything seen so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruling {
    /// The tick's number.
    pub tick: i64,
    /// The share of all callers exposed in it.
    pub exposed: f64,
    /// What is to be done.
    pub action: Action,
    /// For a rollback: the check with the most evidence, and the group if one alone is harmed.
    pub reason: Option<Reason>,
    /// `ln` of the evidence of harm, all checks together.
    pub log_evidence: f64,
    /// `ln` of each check's part in it; minus infinity for a check that is off.
    pub parts: PerCheck<f64>,
    /// `ln` of the evidence of harmlessness.
    pub harmlessness: Harmlessness,
    /// `ln` of the evidence of a wrong split.
    pub log_split: f64,
    /// The gates in the way of a promotion, in order.
    pub wait: SmallVec<[Gate; 13]>,
    /// The gates that only lack data, with an estimate of how much; `None` where nothing can be told yet.
    pub undecided: SmallVec<[(Gate, Option<Missing>); 6]>,
    /// Whether no group has had a control in this stage: canary was compared with nothing.
    pub no_control: bool,
}

/// Why to roll back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// The check with the most evidence.
    pub check: Check,
    /// The group, by its index, whose own evidence was enough; `None` for all callers together.
    pub group: Option<usize>,
    /// `ln` of the evidence there, all checks together.
    pub log_evidence: f64,
    /// `ln` of the evidence that was needed.
    pub log_needed: f64,
}

/// What a promotion waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// The least time of a stage.
    Time,
    /// The least number of requests.
    Requests,
    /// The least number of callers.
    Callers,
    /// Harmlessness is not shown yet.
    NonInferior(NonInferiority),
    /// There is some sign of harm.
    Suspicious,
    /// The split is not what it should be.
    Split,
    /// The mean latency is not surely below its goal.
    MeanLatency,
    /// The mean rating is not above its goal.
    Ratings,
    /// Canary fails more than its limit.
    ErrorRateMax,
    /// There is no next stage.
    Final,
}

impl Gate {
    /// The short word used in traces and the API.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Time => "min_s",
            Self::Requests => "min_n",
            Self::Callers => "min_callers",
            Self::NonInferior(NonInferiority::Errors) => "noninf_err",
            Self::NonInferior(NonInferiority::AllRequests) => "noninf_req",
            Self::NonInferior(NonInferiority::P50) => "noninf_p50",
            Self::NonInferior(NonInferiority::P90) => "noninf_p90",
            Self::Suspicious => "suspicious",
            Self::Split => "srm",
            Self::MeanLatency => "avg_latency",
            Self::Ratings => "feedback",
            Self::ErrorRateMax => "err_max",
            Self::Final => "final",
        }
    }
}

/// About how much more a gate needs, at the rate so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// More canary callers, or requests where those are the unit.
    pub more: u64,
    /// Seconds in which they come.
    pub seconds: u64,
}
