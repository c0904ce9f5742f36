//! Where requests come in.

use std::net::{IpAddr, SocketAddr};

use crate::config::document::{ListenerDocument, ProxyProtocolDocument};
use crate::config::group::ReadFile;
use crate::config::identity::Vouching;
use crate::config::limits::{ListenerLimits, limits};
use crate::config::report::{Problem, Report};
use crate::config::tls::{self, ListenerTls};
use crate::config::written::Placed;

/// Where requests come in.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address to listen on; port 0 lets the system choose.
    pub address: SocketAddr,
    /// TLS for all who connect there; none for plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Whose connections may begin with a PROXY header; none where nobody's may.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether callers may rate here what they were shown.
    pub feedback: bool,
    /// What its clients may take up.
    pub limits: ListenerLimits,
}

/// Whose connections may begin with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Those of the trusted proxies.
    FromTrusted,
}

/// Understands `listeners`: at least one, no two in each other's way.
pub(super) fn listeners(
    section: Option<&Placed<Vec<ListenerDocument>>>,
    vouching: &Vouching,
    read_file: ReadFile<'_>,
    report: &Report,
) -> Vec<Listener> {
    let Some(section) = section else {
        return Vec::new();
    };
    if section.value.is_empty() && !report.has_problem_within(section.place) {
        let problem = Problem::new("there must be at least one listener");
        report.add(section.place, problem.hint("add `- address: 0.0.0.0:8080`"));
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for document in &section.value {
        let address = &document.address;
        let other = listeners
            .iter()
            .find(|other| overlap(other.address, address.value));
        if let Some(other) = other {
            report.add(address.place, taken(address.value, other.address));
        }
        listeners.push(Listener {
            address: address.value,
            tls: document
                .tls
                .as_ref()
                .and_then(|document| tls::tls(document, read_file, report)),
            proxy_protocol: proxy_protocol(document, vouching, report),
            feedback: document.feedback,
            limits: limits(&document.limits, report),
        });
    }
    listeners
}

fn proxy_protocol(
    document: &ListenerDocument,
    vouching: &Vouching,
    report: &Report,
) -> Option<ProxyProtocol> {
    let written = document.proxy_protocol.as_ref()?;
    if !vouching.trusts_peers {
        let problem = "a PROXY header is read from trusted proxies only, and there are none";
        let hint = "name your load balancers under `trusted_proxies`";
        report.add(written.place, Problem::new(problem).hint(hint));
    }
    match written.value {
        ProxyProtocolDocument::FromTrusted => Some(ProxyProtocol::FromTrusted),
    }
}

fn taken(address: SocketAddr, other: SocketAddr) -> Problem {
    let problem = if address == other {
        Problem::new(format!("`{address}` is listed twice"))
    } else {
        Problem::new(format!("`{address}` is in the way of `{other}`"))
    };
    problem.hint("remove one of the two, or give it another port")
}

/// Whether two addresses cannot both be listened on.
///
/// An unspecified IPv6 address takes IPv4 connections too, as is usual on Linux.
pub(super) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| {
        wide.is_unspecified() && (wide.is_ipv6() || narrow.to_canonical().is_ipv4())
    };
    let (a_ip, b_ip) = (a.ip(), b.ip());
    let is_same_ip = a_ip.to_canonical() == b_ip.to_canonical();
    a.port() == b.port()
        && a.port() != 0
        && (is_same_ip || covers(a_ip, b_ip) || covers(b_ip, a_ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_where_one_covers_the_other() {
        let overlap = |a: &str, b: &str| overlap(a.parse().unwrap(), b.parse().unwrap());
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80"));
        assert!(overlap("127.0.0.1:80", "[::]:80"));
        assert!(overlap("[::1]:80", "[::]:80"));
        assert!(overlap("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
    }
}
