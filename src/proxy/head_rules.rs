//! What is done to heads on their way through, without a connection: a door for benches.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue, Request, Version};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::domain::routing::RoutingSnapshot;
use crate::proxy::client::{Client, Scheme};
use crate::proxy::postscript::Draft;
use crate::proxy::{forwarded, headers, resolve, trace};
use crate::runtime::clock;

/// The rules of heads for the requests of one client; for benches, which have no connection.
pub struct HeadRules {
    client: Client,
    random: RefCell<SmallRng>,
}

impl HeadRules {
    /// The rules for a client that speaks HTTP/1.1 without TLS.
    pub fn new(client: IpAddr) -> Self {
        let peer = SocketAddr::new(client, 0);
        Self {
            client: Client::new(peer, Scheme::Http, clock::monotonic()),
            random: RefCell::new(SmallRng::seed_from_u64(7)),
        }
    }

    /// Removes what the client may not say; `false` where the request cannot be let in.
    pub fn remove_forged<B>(&self, routing: &RoutingSnapshot, request: &mut Request<B>) -> bool {
        resolve::clean(routing, self.client.ip(), request).is_ok()
    }

    /// Removes what concerns one connection only.
    pub fn remove_hop_by_hop(&self, fields: &mut HeaderMap) {
        headers::remove_hop_by_hop(fields);
    }

    /// Says by what way a request came.
    pub fn set_forwarding(&self, fields: &mut HeaderMap, host: &HeaderValue) {
        let mut draft = Draft::of(fields);
        forwarded::set_forwarding(&mut draft, &self.client, host);
        headers::say_via(&mut draft, Version::HTTP_11);
        black_box(draft.finish());
    }

    /// Gives a request its id and its place in a trace.
    pub fn mark(&self, fields: &mut HeaderMap) {
        let mut random = self.random.borrow_mut();
        let mut draft = Draft::of(fields);
        trace::set_traceparent(&mut draft, &mut random);
        trace::set_request_id(&mut draft, false, &mut random);
        black_box(draft.finish());
    }

    /// Makes the head of a backend's answer the one that the client is to see.
    pub fn pass_back(&self, fields: &mut HeaderMap) {
        headers::remove_hop_by_hop(fields);
        headers::add_via(fields, Version::HTTP_11);
    }
}
