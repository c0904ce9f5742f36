//! One worker's counters for one snapshot, found by place and never by name.

use std::sync::Arc;

use crate::domain::decision::{Decision, StratumIndex};
use crate::domain::ids::{BackendIndex, FlagIndex, RouteIndex};
use crate::domain::variant::{PerVariant, Variant};
use crate::runtime::recorder::{ArmCounters, CodeCounters, EndpointCounters};

/// Where requests on one route are counted.
#[derive(Debug)]
pub(super) enum RouteMeters {
    /// No flag decides.
    Backend(Arc<CodeCounters>),
    /// By stratum and variant of the flag that decides.
    Flag(Vec<PerVariant<Arc<CodeCounters>>>),
}

/// One worker's counters for one snapshot, found by place.
#[derive(Debug)]
pub struct WorkerMeters {
    pub(super) unrouted: Arc<CodeCounters>,
    pub(super) routes: Vec<RouteMeters>,
    pub(super) flags: Vec<Vec<PerVariant<Arc<ArmCounters>>>>,
    pub(super) endpoints: Vec<Vec<Arc<EndpointCounters>>>,
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
            (RouteMeters::Flag(strata), Some(decision)) => {
                strata[decision.stratum.0].get(decision.variant)
            }
            (RouteMeters::Flag(strata), None) => &strata[0].stable,
            (RouteMeters::Backend(codes), _) => codes,
        }
    }

    /// Where the outcomes of an arm are counted.
    pub fn arm(&self, flag: FlagIndex, stratum: StratumIndex, variant: Variant) -> &ArmCounters {
        self.flags[flag.0][stratum.0].get(variant)
    }

    /// Where dealings with a backend's endpoints are counted, in the order of its endpoints.
    pub fn endpoints(&self, backend: BackendIndex) -> &[Arc<EndpointCounters>] {
        &self.endpoints[backend.0]
    }
}
