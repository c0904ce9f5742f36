//! What a worker has at hand to decide a request by, besides the request and the configuration.

use rand::RngExt;
use smallvec::SmallVec;

use crate::domain::caller::Caller;
use crate::domain::cookie_key::CookieKey;
use crate::domain::ids::GroupIndex;
use crate::domain::routing::RoutingSnapshot;
use crate::proxy::resolve::Surroundings;
use crate::proxy::worker::Worker;
use crate::runtime::pseudonyms::Pseudonym;

impl Surroundings for Worker {
    fn draw(&self) -> u32 {
        self.with_random(|random| random.random())
    }

    fn new_caller(&self) -> u128 {
        self.with_random(|random| random.random())
    }

    fn cookie_key(&self) -> &CookieKey {
        &self.cookie_key
    }

    fn assigned_groups(
        &self,
        routing: &RoutingSnapshot,
        caller: Caller<'_>,
    ) -> SmallVec<[GroupIndex; 4]> {
        let mut groups = SmallVec::new();
        if let Some(key) = caller.key()
            && !self.assignments.is_empty()
        {
            self.assignments.groups_of(key, self.now(), |name| {
                groups.extend(routing.groups.index_of(name.as_str()));
            });
        }
        groups
    }

    fn pseudonym(&self, routing: &RoutingSnapshot, caller: Caller<'_>) -> Option<Pseudonym> {
        self.pseudonyms.for_groups(&routing.groups, caller)
    }
}
