//! What requests would be decided by at the start, to explain one without a process.

use std::sync::Arc;

use crate::adapters::config_file::Source;
use crate::adapters::key_fetcher::KeyFetcher;
use crate::app::{cookie_key, routing, state};
use crate::config::Config;
use crate::domain::app::App;
use crate::domain::cookie_key::CookieKey;
use crate::domain::routing::RoutingSnapshot;
use crate::domain::timestamp::Timestamp;
use crate::runtime::apps::{AppRegistry, Moment};
use crate::runtime::clock;
use crate::runtime::key_ring::KeyRing;

/// What requests would be decided by at the start; to explain a request without a process.
pub struct Initial {
    /// The decisions.
    pub routing: RoutingSnapshot,
    /// The apps that are declared.
    pub apps: AppRegistry,
    /// The keys that tokens would be verified by, which are fetched.
    pub keys: Arc<KeyRing>,
    /// The key of cookies, as it is kept; without one no cookie is known.
    pub cookie_key: CookieKey,
}

/// What requests would be decided by at the start.
pub fn initial(config: Config, source: &Source) -> Initial {
    let folder = state::folder(&config.state, source);
    let kept = folder.and_then(|folder| cookie_key::read(&folder).ok());
    let keys = KeyFetcher::start(&config.identity).reader().ring.load();
    let (routing, apps) = initial_routing(config);
    Initial {
        routing,
        apps,
        keys,
        cookie_key: kept.unwrap_or_else(|| cookie_key::of_folder(None)),
    }
}

/// The decisions, and the apps that are declared.
pub fn initial_routing(config: Config) -> (RoutingSnapshot, AppRegistry) {
    let configuration = routing(config);
    let registry = AppRegistry::default();
    let apps = configuration.apps.iter();
    let apps = apps.filter_map(|(id, declared)| App::of(id, Some(declared), None));
    let moment = Moment {
        now: Timestamp::default(),
        wall_unix_ms: u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX),
    };
    registry.replace(apps.collect(), moment);
    (configuration.routing, registry)
}
