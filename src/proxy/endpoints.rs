//! One backend's endpoints as one worker sees them, and which of them a request is sent to.

use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::domain::backend::{Backend, Balancing, Endpoint};
use crate::proxy::balance::{Balance, Candidates, Chance, Policy};
use crate::proxy::budget::RetryBudget;
use crate::proxy::upstream::pool::Pool;
use crate::runtime::endpoint_health::EndpointHealth;

/// One backend's endpoints.
pub(crate) struct Endpoints {
    members: Vec<Member>,
    picker: Rc<Picker>,
    retry_budget: Rc<RetryBudget>,
}

struct Member {
    pool: Rc<Pool>,
    weight: u64,
    health: Arc<EndpointHealth>,
}

/// A policy with what it was made of; kept from snapshot to snapshot as long as that is the same.
pub(crate) struct Picker {
    of: (Vec<Endpoint>, Balancing),
    policy: Policy,
}

impl Picker {
    pub(crate) fn new(backend: &Backend) -> Self {
        Self {
            of: (backend.endpoints.clone(), backend.balancing.clone()),
            policy: Policy::new(&backend.balancing, &backend.endpoints),
        }
    }

    /// Whether it would be made of the same now.
    pub(crate) fn fits(&self, backend: &Backend) -> bool {
        let (endpoints, balancing) = &self.of;
        *endpoints == backend.endpoints && *balancing == backend.balancing
    }
}

/// The endpoints that a request was sent to already.
#[derive(Default)]
pub(crate) struct Tried {
    /// A bit for each place; 128 without an allocation.
    places: SmallVec<[u64; 2]>,
    last: Option<usize>,
}

impl Tried {
    fn has(&self, place: usize) -> bool {
        let word = self.places.get(place / 64);
        word.is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn add(&mut self, place: usize) {
        if self.places.len() <= place / 64 {
            self.places.resize(place / 64 + 1, 0);
        }
        self.places[place / 64] |= 1 << (place % 64);
        self.last = Some(place);
    }
}

impl Endpoints {
    /// The endpoints that pools connect to, each with its weight.
    pub(crate) fn new(
        balancing: &Balancing,
        pools: impl Iterator<Item = Rc<Pool>>,
        picker: Rc<Picker>,
        retry_budget: Rc<RetryBudget>,
    ) -> Self {
        let weight = |place: usize| balancing.weights.get(place).copied();
        let members = pools.enumerate().map(|(place, pool)| Member {
            health: Arc::clone(pool.health()),
            pool,
            weight: weight(place).map_or(1, NonZeroU16::get).into(),
        });
        Self {
            members: members.collect(),
            picker,
            retry_budget,
        }
    }

    /// How many requests may be sent once more.
    pub(crate) fn retry_budget(&self) -> &RetryBudget {
        &self.retry_budget
    }

    /// Whether a request was sent already to all of them that may be asked.
    pub(crate) fn has_tried_all(&self, tried: &Tried) -> bool {
        let has_tried = |is_usable: fn(&EndpointHealth) -> bool| {
            let mut members = self.members.iter().enumerate();
            members.all(|(place, member)| tried.has(place) || !is_usable(&member.health))
        };
        has_tried(EndpointHealth::is_usable)
            && (self.has_usable() || has_tried(EndpointHealth::is_healthy))
    }

    /// The endpoint to send a request to that was sent to some already; none where it has tried
    /// all that may be asked.
    ///
    /// Those that are ejected may where all that are healthy are: that they would fail is a guess, and
    /// that nobody is asked is a failure.
    pub(crate) fn pick(&self, tried: &mut Tried, chance: Chance) -> Option<&Rc<Pool>> {
        let pick = |may_be_full, may_be_ejected| {
            let open = Open {
                members: &self.members,
                tried: &*tried,
                may_be_full,
                may_be_ejected,
            };
            self.picker.policy.pick(&open, chance)
        };
        // Who would have to wait at one is better served at another.
        let among =
            |may_be_ejected| pick(false, may_be_ejected).or_else(|| pick(true, may_be_ejected));
        let place = among(false).or_else(|| (!self.has_usable()).then(|| among(true))?)?;
        tried.add(place);
        Some(&self.members[place].pool)
    }

    /// Whether one of them is healthy and not ejected.
    fn has_usable(&self) -> bool {
        self.members.iter().any(|member| member.health.is_usable())
    }
}

/// The endpoints as one request finds them.
struct Open<'a> {
    members: &'a [Member],
    tried: &'a Tried,
    /// Whether a request may be made wait for a connection.
    may_be_full: bool,
    may_be_ejected: bool,
}

impl Candidates for Open<'_> {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn weight(&self, place: usize) -> u64 {
        self.members[place].weight
    }

    fn in_flight(&self, place: usize) -> usize {
        self.members[place].pool.in_flight()
    }

    fn is_open(&self, place: usize) -> bool {
        let member = &self.members[place];
        !self.tried.has(place)
            && (member.health.is_usable() || self.may_be_ejected && member.health.is_healthy())
            && (self.may_be_full || !member.pool.is_full())
    }

    fn last(&self) -> Option<usize> {
        self.tried.last
    }
}
