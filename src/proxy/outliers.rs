//! Ejects endpoints that fail requests, and brings them back, for all workers.
//!
//! Workers say how requests went and give an alarm; everything that follows from it is done by the one
//! thread that checks endpoints too. So no more are out than may be, however many workers find out at
//! once, and one comes back in time even if nobody asks for anything.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::time::sleep;

use crate::domain::backend::{Backend, Endpoint};
use crate::domain::ids::{BackendIndex, BackendName};
use crate::domain::outlier::{Ejections, NotEjected, OutlierRule};
use crate::domain::timestamp::Timestamp;
use crate::runtime::clock::Clock;
use crate::runtime::endpoint_health::EndpointHealth;
use crate::runtime::published::Published;

/// All backends whose endpoints may be ejected.
pub(super) struct Outliers {
    clock: Clock,
    backends: HashMap<BackendName, Watched>,
}

/// One of them.
struct Watched {
    name: BackendName,
    failures_max: NonZeroU32,
    ejections: Ejections,
    members: BTreeMap<Endpoint, Member>,
}

/// One endpoint; dropped, it is ejected no more and never again.
struct Member {
    health: Arc<EndpointHealth>,
    /// Whether it is suspect, and one too many. It is looked at again when another is back.
    is_held: bool,
}

impl Member {
    fn new(health: &Arc<EndpointHealth>) -> Self {
        health.eject(Some(false));
        Self {
            health: Arc::clone(health),
            is_held: false,
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.health.eject(None);
    }
}

impl Outliers {
    /// Nobody yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            backends: HashMap::new(),
        }
    }

    /// Goes on with what a snapshot names. What is known of endpoints that stay is kept.
    pub(super) fn renew(&mut self, published: &Published) {
        let now = self.clock.now();
        let mut known = std::mem::take(&mut self.backends);
        for (place, backend) in published.routing.backends.iter().enumerate() {
            let Some(rule) = backend.outlier else {
                continue;
            };
            let health = published.meters[0].health(BackendIndex(place));
            let watched = known.remove(&backend.name);
            let mut watched = watched.unwrap_or_else(|| Watched::new(&backend.name, rule));
            watched.renew(rule, backend, health, now);
            self.backends.insert(backend.name.clone(), watched);
        }
        drop(known);
        self.look();
    }

    /// Lets those back whose time is over, and ejects those that have become suspect.
    pub(super) fn look(&mut self) {
        let now = self.clock.now();
        for watched in self.backends.values_mut() {
            watched.release(now);
            watched.eject(now);
        }
    }

    /// Waits until the next one is to come back.
    pub(super) async fn next_end(&self) {
        let ends = self.backends.values();
        match ends
            .filter_map(|watched| watched.ejections.next_end())
            .min()
        {
            Some(end) => sleep(end - self.clock.now()).await,
            None => std::future::pending().await,
        }
    }
}

impl Watched {
    fn new(name: &BackendName, rule: OutlierRule) -> Self {
        Self {
            name: name.clone(),
            failures_max: rule.consecutive_failures,
            ejections: Ejections::new(rule),
            members: BTreeMap::new(),
        }
    }

    fn renew(
        &mut self,
        rule: OutlierRule,
        backend: &Backend,
        health: &[Arc<EndpointHealth>],
        now: Timestamp,
    ) {
        self.failures_max = rule.consecutive_failures;
        let mut known = std::mem::take(&mut self.members);
        for (endpoint, health) in backend.endpoints.iter().zip(health) {
            let member = known.remove(endpoint);
            let member = member.unwrap_or_else(|| Member::new(health));
            self.members.insert(endpoint.clone(), member);
        }
        let released = self.ejections.renew(rule, &backend.endpoints, now);
        self.bring_back(&released);
        self.look_again();
    }

    fn release(&mut self, now: Timestamp) {
        let released = self.ejections.release(now);
        if !released.is_empty() {
            self.bring_back(&released);
            self.look_again();
        }
    }

    fn bring_back(&self, released: &[Endpoint]) {
        for endpoint in released {
            if let Some(member) = self.members.get(endpoint) {
                member.health.eject(Some(false));
                let backend = &self.name;
                tracing::info!(%backend, %endpoint, "ejected endpoint is used again");
            }
        }
    }

    /// There may be room for others now. Those who have done better since are not suspect any more.
    fn look_again(&mut self) {
        for member in self.members.values_mut() {
            if std::mem::take(&mut member.is_held)
                && member.health.failures() < self.failures_max.get()
            {
                member.health.acquit();
            }
        }
    }

    fn eject(&mut self, now: Timestamp) {
        let backend = &self.name;
        for (endpoint, member) in &mut self.members {
            let Some(last) = member.health.suspected().filter(|_| !member.is_held) else {
                continue;
            };
            let (failures, last) = (self.failures_max, last.as_str());
            match self.ejections.eject(endpoint, now) {
                Ok(time) => {
                    member.health.eject(Some(true));
                    let eject_for = humantime::format_duration(time);
                    tracing::warn!(
                        %backend, %endpoint, failures, last, %eject_for, "endpoint is ejected"
                    );
                }
                Err(NotEjected::TooMany) => {
                    member.is_held = true;
                    let why = if self.ejections.room() == 0 {
                        "`max_ejected` of so few endpoints is none"
                    } else {
                        "as many as may be are already"
                    };
                    tracing::warn!(%backend, %endpoint, failures, last, why, "endpoint is not ejected");
                }
                // What was under way when it was ejected has failed as well.
                Err(NotEjected::IsOut) => {}
            }
        }
    }
}
