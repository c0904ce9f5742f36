//! A request that somebody describes instead of sending it.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method};

use crate::domain::app::App;
use crate::domain::caller::{Caller, RequestFacts};
use crate::domain::ids::GroupIndex;

/// A request that somebody describes instead of sending it: what decisions look at, owned.
#[derive(Clone, Debug)]
pub struct DescribedRequest {
    /// Its method.
    pub method: Method,
    /// The host it asks for.
    pub host: String,
    /// Its path, which starts with `/`.
    pub path: String,
    /// Its fields.
    pub headers: HeaderMap,
    /// Where it comes from.
    pub client_ip: IpAddr,
    /// Who sends it.
    pub key: Option<String>,
}

impl Default for DescribedRequest {
    fn default() -> Self {
        Self {
            method: Method::GET,
            host: String::new(),
            path: "/".to_owned(),
            headers: HeaderMap::new(),
            client_ip: Ipv4Addr::UNSPECIFIED.into(),
            key: None,
        }
    }
}

impl DescribedRequest {
    /// Who sends it.
    pub fn caller(&self) -> Caller<'_> {
        self.key.as_deref().map_or(Caller::Anonymous, Caller::Known)
    }

    /// What decisions look at in it; `app` is the one that sends it, and `draw` stands in for a key that is
    /// not there.
    pub fn facts<'a>(
        &'a self,
        app: Option<&'a App>,
        assigned: &'a [GroupIndex],
        draw: u32,
    ) -> RequestFacts<'a> {
        RequestFacts {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: None,
            headers: &self.headers,
            client_ip: self.client_ip,
            caller: self.caller(),
            pseudonym: None,
            app,
            is_barred: false,
            certificate: None,
            bucketed_by: None,
            claims: None,
            assigned,
            draw,
        }
    }
}
