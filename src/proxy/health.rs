//! Checks whether endpoints are well, and looks after those that are ejected, for all workers.
//!
//! One thread of its own asks, so that an endpoint is asked once however many workers there are, and in
//! time however much these have to do. What it finds stands beside the endpoints' counters, where a
//! worker looks before each pick. An endpoint is well until it has failed several checks in a row.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::iter::successors;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval, interval_at, timeout};

use crate::domain::backend::{Endpoint, HealthCheck};
use crate::domain::ids::{BackendIndex, BackendName};
use crate::proxy::error::ProxyError;
use crate::proxy::outliers::Outliers;
use crate::proxy::upstream::establish::Terms;
use crate::proxy::upstream::probe::probe;
use crate::proxy::upstream::tls::TlsClients;
use crate::runtime::clock::{self, Clock};
use crate::runtime::endpoint_health::EndpointHealth;
use crate::runtime::published::{Published, Subscriber};
use crate::runtime::shutdown::Shutdown;

/// How often it is looked for other backends and other checks.
const LOOK: Duration = Duration::from_millis(500);

/// What it takes to check, and to eject.
pub struct HealthContext {
    subscriber: Subscriber,
    alarm: Arc<Notify>,
}

impl HealthContext {
    /// Looks after those whom a snapshot names that is read here. The alarm is the ledger's, and nobody
    /// else may listen to it.
    pub fn new(subscriber: &Subscriber, alarm: &Arc<Notify>) -> Self {
        Self {
            subscriber: subscriber.clone(),
            alarm: Arc::clone(alarm),
        }
    }
}

/// Checks and ejects on the calling thread until it is told to stop, which is when nobody asks for anything
/// any more: what was found is forgotten then.
///
/// # Errors
/// When the runtime cannot be made.
pub fn run_health_checks(context: HealthContext, shutdown: Shutdown) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(follow(context, shutdown));
    // A name may be being looked up, which nobody waits for any more.
    runtime.shutdown_background();
    Ok(())
}

async fn follow(context: HealthContext, mut shutdown: Shutdown) {
    let HealthContext {
        mut subscriber,
        alarm,
    } = context;
    let mut checks = Checks::default();
    let mut outliers = Outliers::new(Clock::start());
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            _ = looks.tick() => if let Some(published) = subscriber.refresh() {
                checks.renew(&published);
                outliers.renew(&published);
            },
            () = alarm.notified() => outliers.look(),
            () = outliers.next_end() => outliers.look(),
        }
    }
}

/// All checks under way.
#[derive(Default)]
struct Checks {
    by_endpoint: HashMap<(BackendName, Endpoint), Check>,
    tls: TlsClients,
    /// How many have begun so far.
    begun: u32,
}

/// One endpoint's check; dropped, it ends, and the endpoint counts as well.
struct Check {
    check: HealthCheck,
    terms: Rc<Terms>,
    health: Arc<EndpointHealth>,
    task: AbortHandle,
}

impl Drop for Check {
    fn drop(&mut self) {
        self.task.abort();
        self.health.set(None);
    }
}

impl Checks {
    /// Begins what is new in a snapshot and ends what is no longer there; the rest goes on.
    ///
    /// A check that was changed ends before the new one begins, so that the endpoint is first well.
    fn renew(&mut self, published: &Published) {
        let routing = &published.routing;
        let tls = self
            .tls
            .renew(&routing.backends, &routing.system_authorities);
        let mut known = std::mem::take(&mut self.by_endpoint);
        let begun = &mut self.begun;
        for ((place, backend), tls) in routing.backends.iter().enumerate().zip(&tls) {
            let Some(check) = &backend.health else {
                continue;
            };
            let health = published.meters[0].health(BackendIndex(place));
            for (endpoint, health) in backend.endpoints.iter().zip(health) {
                let key = (backend.name.clone(), endpoint.clone());
                let kept = known.remove(&key);
                let kept =
                    kept.filter(|it| it.check == *check && it.terms.fits(backend, tls.as_ref()));
                let terms = || Terms::of(backend, endpoint, tls.as_ref());
                let check = kept.unwrap_or_else(|| {
                    *begun = begun.wrapping_add(1);
                    let first = first_after(check.interval, *begun - 1);
                    let of = (&backend.name, check, first);
                    Check::begin(of, Rc::new(terms()), Arc::clone(health))
                });
                self.by_endpoint.insert(key, check);
            }
        }
    }
}

impl Check {
    fn begin(
        (backend, check, first): (&BackendName, &HealthCheck, Duration),
        terms: Rc<Terms>,
        health: Arc<EndpointHealth>,
    ) -> Self {
        health.set(Some(true));
        let of = (backend.clone(), check.clone(), first);
        let task = spawn_local(run(of, Rc::clone(&terms), Arc::clone(&health)));
        Self {
            check: check.clone(),
            terms,
            health,
            task: task.abort_handle(),
        }
    }
}

/// After how much of its interval the n-th check begins, from 0 on, so that those that begin together do not
/// all ask at once, time and again.
///
/// The fractions of multiples of the golden ratio are spread evenly however many there are, and new ones
/// fall into the largest gaps (Knuth, "The Art of Computer Programming", volume 3, section 6.4, theorem S).
fn first_after(interval: Duration, number: u32) -> Duration {
    /// The ratio's fraction, in parts of 2^32.
    const GOLDEN: u32 = 0x9e37_79b9;
    let fraction = f64::from(number.wrapping_mul(GOLDEN)) / (f64::from(u32::MAX) + 1.0);
    interval.mul_f64(fraction)
}

/// Asks an endpoint again and again.
async fn run(
    of: (BackendName, HealthCheck, Duration),
    terms: Rc<Terms>,
    health: Arc<EndpointHealth>,
) {
    let (backend, check, first) = of;
    let mut streak = Streak::default();
    let mut times = interval_at(clock::monotonic() + first, check.interval);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        let found = ask(&terms, &check).await;
        if let Some(is_healthy) = streak.add(&check, found.is_ok()) {
            health.set(Some(is_healthy));
            let endpoint = &terms.endpoint;
            match found {
                Ok(()) => tracing::info!(%backend, %endpoint, "endpoint is healthy again"),
                Err(why) => tracing::warn!(%backend, %endpoint, why, "endpoint is unhealthy"),
            }
        }
    }
}

/// Asks an endpoint once; an error in words where it is not well.
async fn ask(terms: &Terms, check: &HealthCheck) -> Result<(), String> {
    match timeout(check.timeout, probe(terms, &check.target)).await {
        Err(_) => Err("no answer in time".to_owned()),
        Ok(Ok(status)) if status.is_success() => Ok(()),
        Ok(Ok(status)) => Err(format!("status {}", status.as_u16())),
        Ok(Err(error)) => Err(in_words(&error, terms)),
    }
}

fn in_words(error: &ProxyError, terms: &Terms) -> String {
    if let Some(hint) = error.cure().filter(|_| terms.tls.is_none()) {
        return format!("{error}; {hint}");
    }
    let cause = successors(error.source(), |&error| error.source()).last();
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// How checks have gone of late.
#[derive(Debug, Default)]
struct Streak {
    is_unhealthy: bool,
    /// Checks in a row that say the contrary.
    contrary: u32,
}

impl Streak {
    /// Takes in a check; tells whether the endpoint is healthy if that has changed.
    fn add(&mut self, check: &HealthCheck, is_good: bool) -> Option<bool> {
        if is_good != self.is_unhealthy {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        let needed = if is_good {
            check.healthy_after
        } else {
            check.unhealthy_after
        };
        if self.contrary < needed {
            return None;
        }
        *self = Self {
            is_unhealthy: !is_good,
            contrary: 0,
        };
        Some(is_good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_spread_over_their_interval() {
        let interval = Duration::from_secs(5);
        assert_eq!(first_after(interval, 0), Duration::ZERO);
        for count in [2, 3, 10, 500, 20_000] {
            let times = (0..count).map(|number| first_after(interval, number));
            let mut times: Vec<_> = times.collect();
            times.sort();
            assert!(times[times.len() - 1] < interval);
            // Even gaps would be as long as this.
            let even = interval / count;
            let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(
                gaps.iter().all(|gap| *gap < even * 2 && *gap > even / 3),
                "{count}"
            );
        }
    }

    #[test]
    fn only_checks_in_a_row_change_anything() {
        let check = HealthCheck {
            target: http::uri::PathAndQuery::from_static("/healthz"),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        };
        let mut streak = Streak::default();
        let mut add = |found: &str| -> Vec<_> {
            let found = found.chars();
            found
                .filter_map(|it| streak.add(&check, it == '+'))
                .collect()
        };
        assert_eq!(add("+--+--+"), [false; 0]);
        assert_eq!(add("---"), [false]);
        assert_eq!(add("--+-+-"), [false; 0], "one good check is none");
        assert_eq!(add("++"), [true]);
        assert_eq!(add("++--"), [false; 0]);
        assert_eq!(add("-"), [false]);
    }
}
