//! Where requests and operators come in.

use std::net::{IpAddr, SocketAddr};

use crate::config::defaults;
use crate::config::document::{AdminDocument, ListenerDocument};
use crate::config::report::{Problem, Report};
use crate::config::tree::Place;
use crate::config::written::{Placed, Written};

/// Where requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address to listen on; port 0 lets the system choose.
    pub address: SocketAddr,
}

/// Where operators come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address to listen on: a loopback address, and none that a listener has.
    pub address: SocketAddr,
}

/// Understands `listeners`: at least one, no two in each other's way.
pub(super) fn listeners(
    section: Option<&Placed<Vec<ListenerDocument>>>,
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
        });
    }
    listeners
}

/// Understands `admin`.
pub(super) fn admin(
    section: Option<&Placed<AdminDocument>>,
    listeners: &[Listener],
    report: &Report,
) -> Admin {
    let written = section.and_then(|section| section.value.address.as_ref());
    let is_refused = section.is_some_and(|section| report.has_problem_within(section.place));
    let address = written.map_or(defaults::ADMIN_ADDRESS, |written| written.value);
    let place = written.map_or(Place::ROOT, |Written { place, .. }| *place);
    if !address.ip().to_canonical().is_loopback() {
        let problem =
            format!("`{address}` is not a loopback address, and tokens are not in this version");
        let hint = format!("write `127.0.0.1:{}`", address.port());
        report.add(place, Problem::new(problem).hint(hint));
    }
    let other = listeners
        .iter()
        .find(|other| overlap(other.address, address));
    if let (Some(other), false) = (other, is_refused) {
        let problem = format!(
            "the admin address `{address}` is in the way of listener `{}`",
            other.address
        );
        let hint = "give `admin.address` another port";
        report.add(place, Problem::new(problem).hint(hint));
    }
    Admin { address }
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
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
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
