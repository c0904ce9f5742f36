//! What the end-to-end tests stand on: the real program, backends that do as they are told, and
//! a client that says and sees every byte.
//!
//! Nothing here knows the program's inside: it is started as a process, asked over sockets and
//! watched through its log and its admin API. All of it ends when it is dropped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what goes wrong here fails the test that is running"
)]
#![allow(
    dead_code,
    unused_imports,
    reason = "every test file takes what it needs"
)]

pub(crate) mod authority;
pub(crate) mod backend;
pub(crate) mod blackhole;
pub(crate) mod crowd;
pub(crate) mod disk;
pub(crate) mod edge;
pub(crate) mod events;
pub(crate) mod flood;
pub(crate) mod frames;
pub(crate) mod hook;
pub(crate) mod http;
pub(crate) mod lateness;
pub(crate) mod load;
pub(crate) mod metrics;
pub(crate) mod position;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod recorder;
pub(crate) mod release;
pub(crate) mod tokens;
pub(crate) mod upstream;

use std::thread::sleep;
use std::time::Duration;

use serin::runtime::clock;

pub(crate) use authority::Authority;
pub(crate) use backend::{Behaviour, TestBackend};
pub(crate) use crowd::{Crowd, Manner};
pub(crate) use edge::Edge;
pub(crate) use events::EventStream;
pub(crate) use hook::{Hook, Manners};
pub(crate) use http::{Answer, Connection, Request};
pub(crate) use load::Load;
pub(crate) use metrics::Metrics;
pub(crate) use proxy::TestProxy;
pub(crate) use recorder::Recorder;

/// How long anything may take that should come at once. Long, for machines can be busy; a test
/// that passes does not wait for it.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `look` sees something, and fails after a limit.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = clock::monotonic();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(LOOK);
    }
}

/// Waits until `holds` is true, and fails after a limit.
pub(crate) fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, limit, || holds().then_some(()));
}
