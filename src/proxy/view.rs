//! A published snapshot as one worker sees it: with that worker's own connections and counters.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use crate::domain::backend::{Backend, BalancePolicy, Endpoint};
use crate::domain::ids::{BackendIndex, BackendName, FlagIndex};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::variant::{PerVariant, Variant};
use crate::proxy::budget::RetryBudget;
use crate::proxy::endpoints::{Endpoints, Picker};
use crate::proxy::turn::Departures;
use crate::proxy::upstream::establish::Terms;
use crate::proxy::upstream::pool::Pool;
use crate::proxy::upstream::tls::TlsClients;
use crate::runtime::meters::WorkerMeters;
use crate::runtime::published::Published;

/// One worker's connections to all endpoints, kept from snapshot to snapshot.
pub(crate) struct Pools {
    departures: Rc<Departures>,
    by_endpoint: HashMap<(BackendName, Endpoint), Rc<Pool>>,
    tls: TlsClients,
    budgets: HashMap<BackendName, Rc<RetryBudget>>,
    pickers: HashMap<BackendName, Rc<Picker>>,
}

impl Pools {
    /// None yet, of a worker whose requests depart so.
    pub(crate) fn departing_by(departures: &Rc<Departures>) -> Self {
        Self {
            departures: Rc::clone(departures),
            by_endpoint: HashMap::new(),
            tls: TlsClients::default(),
            budgets: HashMap::new(),
            pickers: HashMap::new(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<Pool>> {
        self.by_endpoint.values()
    }
}

/// What one worker needs to serve a request.
pub(crate) struct View {
    published: Arc<Published>,
    worker: usize,
    backends: Vec<Endpoints>,
    /// Whether some backend's endpoints are picked by who the caller is.
    balances_by_caller: bool,
    /// By flag and variant, what `serin-flags` tells the backend.
    flag_headers: Vec<PerVariant<HeaderValue>>,
    /// What requests are decided by, for those who look at it elsewhere and later.
    shared_routing: OnceCell<Arc<RoutingSnapshot>>,
}

impl View {
    /// Makes the view of a snapshot. Connections to endpoints that it still names are kept, the
    /// others are let go; exchanges under way on them end in peace.
    pub(crate) fn new(published: Arc<Published>, worker: usize, pools: &mut Pools) -> Self {
        let (mut kept, mut pickers) = (HashMap::new(), HashMap::new());
        let mut budgets = HashMap::new();
        let routing = &published.routing;
        let meters = &published.meters[worker];
        let tls = &pools
            .tls
            .renew(&routing.backends, &routing.system_authorities);
        let backends = routing.backends.iter().zip(tls).enumerate();
        let per_backend = backends.map(|(place, (backend, tls))| {
            let counters = meters.endpoints(BackendIndex(place));
            let budget = pools
                .budgets
                .get(&backend.name)
                .cloned()
                .unwrap_or_default();
            let retry_budget = Rc::clone(budgets.entry(backend.name.clone()).or_insert(budget));
            let health = meters.health(BackendIndex(place));
            let failures_max = backend.outlier.map(|rule| rule.consecutive_failures);
            let limits = backend.limits.per_worker(published.meters.len());
            let picker = pools.pickers.get(&backend.name);
            let picker = picker.filter(|picker| picker.fits(backend)).cloned();
            let picker = picker.unwrap_or_else(|| Rc::new(Picker::new(backend)));
            pickers.insert(backend.name.clone(), Rc::clone(&picker));
            let pools = backend
                .endpoints
                .iter()
                .zip(counters.iter().zip(health))
                .map(|(endpoint, (counters, health))| {
                    let key = (backend.name.clone(), endpoint.clone());
                    let known = pools.by_endpoint.get(&key);
                    let known = known.filter(|pool| pool.terms().fits(backend, tls.as_ref()));
                    let pool = known.cloned().unwrap_or_else(|| {
                        let terms = Terms::of(backend, endpoint, tls.as_ref());
                        let departures = Rc::clone(&pools.departures);
                        Rc::new(Pool::new(terms, limits, (counters, health), departures))
                    });
                    pool.resize(limits);
                    pool.tell_after(failures_max);
                    Rc::clone(kept.entry(key).or_insert(pool))
                });
            Endpoints::new(&backend.balancing, pools, picker, retry_budget)
        });
        let backends = per_backend.collect();
        let by_caller = |backend: &Backend| backend.balancing.policy == BalancePolicy::RingHash;
        let balances_by_caller = routing.backends.iter().any(by_caller);
        let flag_headers = flag_headers(routing);
        (pools.by_endpoint, pools.pickers) = (kept, pickers);
        pools.budgets = budgets;
        Self {
            published,
            worker,
            backends,
            balances_by_caller,
            flag_headers,
            shared_routing: OnceCell::new(),
        }
    }

    /// What requests are decided by.
    pub(crate) fn routing(&self) -> &RoutingSnapshot {
        &self.published.routing
    }

    /// The same for whoever looks at it elsewhere and later. The count of its holders is this
    /// worker's own, so that workers do not write to one line of memory.
    pub(crate) fn shared_routing(&self) -> Arc<RoutingSnapshot> {
        let shared = || Arc::new(self.routing().clone());
        Arc::clone(self.shared_routing.get_or_init(shared))
    }

    /// The epoch of weights that requests are decided under.
    pub(crate) fn epoch(&self, flag: FlagIndex) -> u64 {
        self.published.routing.flag(flag).epoch
    }

    /// Where this worker counts them.
    pub(crate) fn meters(&self) -> &WorkerMeters {
        &self.published.meters[self.worker]
    }

    /// The endpoints of a backend.
    pub(crate) fn endpoints(&self, backend: BackendIndex) -> &Endpoints {
        &self.backends[backend.0]
    }

    /// Whether some backend's endpoints are picked by who the caller is.
    pub(crate) const fn balances_by_caller(&self) -> bool {
        self.balances_by_caller
    }

    /// What `serin-flags` tells the backend about a flag's decision.
    pub(crate) fn flag_header(&self, flag: FlagIndex, variant: Variant) -> &HeaderValue {
        self.flag_headers[flag.0].get(variant)
    }
}

/// By flag and variant, what `serin-flags` tells the backend.
fn flag_headers(routing: &RoutingSnapshot) -> Vec<PerVariant<HeaderValue>> {
    let headers = routing.flags.iter().map(|flag| {
        PerVariant::from_fn(|variant| {
            // Names and variants are plain ASCII, which is always a header value.
            HeaderValue::from_str(&format!("{}={variant}", flag.name))
                .unwrap_or(HeaderValue::from_static(""))
        })
    });
    headers.collect()
}
