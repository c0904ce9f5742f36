//! Which endpoint of a backend is asked next.
//!
//! Each policy is one file and one line of the table below. A policy sees numbers only: it is told
//! which endpoints are open to a request, and picks one of these. Each worker picks by what it knows
//! itself, so that none waits for another.

mod chance;
mod least_request;
mod power_of_two;
mod ring_hash;
mod round_robin;
#[cfg(test)]
mod testing;

pub(crate) use self::chance::Chance;
use crate::domain::backend::{Balancing, Endpoint};

/// The endpoints of a backend as one request finds them, by place.
pub(crate) trait Candidates {
    /// How many there are.
    fn count(&self) -> usize;
    /// The share of one beside the others'; at least 1.
    fn weight(&self, place: usize) -> u64;
    /// How many requests this worker has under way at one.
    fn in_flight(&self, place: usize) -> usize;
    /// Whether one may be picked.
    fn is_open(&self, place: usize) -> bool;
    /// The one that was picked last for the same request, which went wrong.
    fn last(&self) -> Option<usize>;
}

/// Picks endpoints, by whatever a policy goes by.
pub(crate) trait Balance {
    /// The place of the endpoint to ask; none where none is open.
    fn pick(&self, among: &impl Candidates, chance: Chance) -> Option<usize>;
}

macro_rules! policies {
    ($($kind:ident => $policy:path,)*) => {
        /// One policy of any kind.
        #[derive(Debug)]
        pub(crate) enum Policy {
            $($kind($policy),)*
        }

        impl Policy {
            /// The policy that a backend is to have.
            pub(crate) fn new(balancing: &Balancing, endpoints: &[Endpoint]) -> Self {
                match balancing.policy {
                    $(crate::domain::backend::BalancePolicy::$kind => {
                        Self::$kind(<$policy>::new(balancing, endpoints))
                    })*
                }
            }
        }

        impl Balance for Policy {
            fn pick(&self, among: &impl Candidates, chance: Chance) -> Option<usize> {
                match self {
                    $(Self::$kind(policy) => policy.pick(among, chance),)*
                }
            }
        }
    };
}

policies! {
    RoundRobin => round_robin::RoundRobin,
    PowerOfTwo => power_of_two::PowerOfTwo,
    LeastRequest => least_request::LeastRequest,
    RingHash => ring_hash::RingHash,
}

/// The places that may be picked.
fn open_places(among: &impl Candidates) -> impl Iterator<Item = usize> {
    (0..among.count()).filter(|place| among.is_open(*place))
}

/// Whether one endpoint has fewer requests under way than another, each beside its weight.
fn is_less_busy(among: &impl Candidates, one: usize, other: usize) -> bool {
    let share = |of: usize, beside: usize| among.in_flight(of) as u64 * among.weight(beside);
    share(one, other) < share(other, one)
}
