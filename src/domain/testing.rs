//! Short ways to make values in tests.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::domain::backend::{Backend, Balancing, Http1Client, Limits, Protocol, Timeouts};
use crate::domain::caller::{Caller, RequestFacts};
use crate::domain::flag::{Flag, FlagWeights, Stickiness};
use crate::domain::hashing::HashScheme;
use crate::domain::ids::BackendIndex;
use crate::domain::retries::Retries;
use crate::domain::variant::PerVariant;
use crate::domain::variants::Variants;
use crate::domain::weight::Weight;

/// Reads a name that is known to be one.
pub(crate) fn name<N: FromStr<Err: std::fmt::Debug>>(text: &str) -> N {
    text.parse().unwrap()
}

/// A whole percentage as weight.
pub(crate) fn percent(percent: u16) -> Weight {
    Weight::from_basis_points(percent * 100).unwrap()
}

/// A backend without endpoints, TLS or anything that looks after it; one second for everything.
pub(crate) fn backend(title: &str) -> Backend {
    let limit = Duration::from_secs(1);
    Backend {
        name: name(title),
        endpoints: Vec::new(),
        timeouts: Timeouts {
            connect: limit,
            response: limit,
            idle: limit,
        },
        balancing: Balancing::default(),
        health: None,
        outlier: None,
        limits: Limits {
            connections: 1,
            pending: 1,
        },
        protocol: Protocol::Auto,
        http1_client: Http1Client::default(),
        tls: None,
        retries: Retries::default(),
    }
}

/// A flag between the first two backends, at weight zero, that nobody has set yet.
pub(crate) fn flag(title: &str) -> Flag {
    Flag {
        name: name(title),
        salt: title.into(),
        hash: HashScheme::default(),
        enabled: true,
        stickiness: Stickiness::Caller,
        requires: Box::default(),
        force: None,
        shield: false,
        backends: Some(PerVariant {
            stable: BackendIndex(0),
            canary: BackendIndex(1),
        }),
        variants: Variants::default(),
        weights: FlagWeights::default(),
        epoch: 0,
        rolled_back: false,
        rolled_back_groups: Vec::new(),
    }
}

/// Owns what [`RequestFacts`] borrows.
pub(crate) struct FactsBuilder {
    key: Option<String>,
    headers: HeaderMap,
}

impl FactsBuilder {
    pub(crate) fn caller(key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            headers: HeaderMap::new(),
        }
    }

    pub(crate) fn anonymous() -> Self {
        Self {
            key: None,
            headers: HeaderMap::new(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// A `GET /` from 192.0.2.1 with nothing assigned.
    pub(crate) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            method: &Method::GET,
            host: "example.com",
            path: "/",
            query: None,
            headers: &self.headers,
            client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            caller: self.key.as_deref().map_or(Caller::Anonymous, Caller::Known),
            pseudonym: None,
            app: None,
            is_barred: false,
            certificate: None,
            bucketed_by: None,
            claims: None,
            assigned: &[],
            draw: 0,
        }
    }
}
