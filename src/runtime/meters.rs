//! One worker's counters for one snapshot, found by place and never by name.

use std::sync::Arc;

use crate::domain::decision::Decision;
use crate::domain::ids::{BackendIndex, FlagIndex, RouteIndex};
use crate::domain::variant::PerVariant;
use crate::runtime::content_types::ContentTypes;
use crate::runtime::endpoint_health::EndpointHealth;
use crate::runtime::exposures::GroupNumber;
use crate::runtime::recorder::{ArmCounters, CodeCounters, EndpointCounters};
use crate::runtime::watch::RolloutWatch;

/// Where requests on one route are counted.
#[derive(Debug)]
pub(super) enum RouteMeters {
    /// No flag decides.
    Backend(Arc<CodeCounters>),
    /// By stratum and variant of the flag that decides.
    Flag {
        strata: Vec<PerVariant<Arc<CodeCounters>>>,
        /// Of requests that were refused before, where there may be such.
        undecided: Option<Arc<CodeCounters>>,
    },
}

/// Where a flag's outcomes are counted.
#[derive(Debug)]
pub(super) struct FlagMeters {
    pub(super) strata: Vec<StratumMeters>,
    /// Of the flag's rollout, while one is active.
    pub(super) watch: Option<Arc<RolloutWatch>>,
}

/// Callers who are known again and requests that are drawn anew are strata of their own.
#[derive(Debug)]
pub(super) struct StratumMeters {
    pub(super) keyed: PerVariant<Arc<ArmCounters>>,
    pub(super) drawn_anew: PerVariant<Arc<ArmCounters>>,
    /// The stratum's number where it is remembered what callers were shown.
    pub(super) exposed_as: Option<GroupNumber>,
}

/// One worker's counters for one snapshot, found by place.
#[derive(Debug)]
pub struct WorkerMeters {
    pub(super) unrouted: Arc<CodeCounters>,
    pub(super) routes: Vec<RouteMeters>,
    pub(super) flags: Vec<FlagMeters>,
    pub(super) endpoints: Vec<Vec<Arc<EndpointCounters>>>,
    pub(super) health: Vec<Vec<Arc<EndpointHealth>>>,
    pub(super) content_types: Arc<ContentTypes>,
}

impl WorkerMeters {
    /// Where requests on a route are counted by code.
    ///
    /// `None` stands for requests that no route fits.
    pub fn codes(&self, route: Option<RouteIndex>, decision: Option<Decision>) -> &CodeCounters {
        let Some(route) = route else {
            return &self.unrouted;
        };
        match (&self.routes[route.0], decision) {
            (RouteMeters::Flag { strata, .. }, Some(decision)) => {
                strata[decision.stratum.0].get(decision.variant)
            }
            (RouteMeters::Flag { strata, undecided }, None) => {
                undecided.as_ref().unwrap_or(&strata[0].stable)
            }
            (RouteMeters::Backend(codes), _) => codes,
        }
    }

    /// Where the outcomes of requests with this decision are counted.
    pub fn arm(&self, flag: FlagIndex, decision: Decision) -> &ArmCounters {
        let stratum = &self.flags[flag.0].strata[decision.stratum.0];
        let arms = if decision.is_keyed {
            &stratum.keyed
        } else {
            &stratum.drawn_anew
        };
        arms.get(decision.variant)
    }

    /// How to look at the answers of a flag and count its callers, while it has an active rollout.
    pub fn watch(&self, flag: FlagIndex) -> Option<&RolloutWatch> {
        self.flags[flag.0].watch.as_deref()
    }

    /// Remembers what the caller of this decision is shown, if anybody wants to know.
    pub fn note_exposure(&self, flag: FlagIndex, decision: Decision) {
        let meters = &self.flags[flag.0];
        if let Some(watch) = &meters.watch
            && decision.is_keyed
            && let Some(group) = meters.strata[decision.stratum.0].exposed_as
        {
            let Decision { hash, variant, .. } = decision;
            watch.exposures.note(hash, variant, group);
        }
    }

    /// The numbers of content types.
    pub fn content_types(&self) -> &ContentTypes {
        &self.content_types
    }

    /// Where dealings with a backend's endpoints are counted, in the order of its endpoints.
    pub fn endpoints(&self, backend: BackendIndex) -> &[Arc<EndpointCounters>] {
        &self.endpoints[backend.0]
    }

    /// How a backend's endpoints are, in their order. All workers have the same.
    pub fn health(&self, backend: BackendIndex) -> &[Arc<EndpointHealth>] {
        &self.health[backend.0]
    }
}
