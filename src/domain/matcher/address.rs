//! Matches a request by the network its client is in.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;

/// The client's address lies in one of these networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressMatcher {
    /// The networks, in the file's order; a single address is a network of one.
    pub networks: Vec<IpNet>,
}

impl AddressMatcher {
    /// Whether an address lies in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }
}

impl Matches for AddressMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        self.contains(facts.client_ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_on_an_ipv6_socket_is_the_same_client() {
        let office = AddressMatcher {
            networks: vec!["192.0.2.0/24".parse().unwrap()],
        };
        assert!(office.contains("192.0.2.7".parse().unwrap()));
        assert!(office.contains("::ffff:192.0.2.7".parse().unwrap()));
        assert!(!office.contains("192.0.3.7".parse().unwrap()));
        assert!(!office.contains("2001:db8::7".parse().unwrap()));
    }
}
