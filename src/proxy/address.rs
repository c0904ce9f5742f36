//! The address of a client, as it is compared and as it is told.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderValue;
use smallvec::SmallVec;

/// The address at the other end.
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    /// The same as header value.
    pub(crate) value: HeaderValue,
}

impl Address {
    pub(crate) fn new(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let value = match ip {
            IpAddr::V4(ip) => HeaderValue::from_bytes(&digits(ip)),
            IpAddr::V6(ip) => HeaderValue::try_from(ip.to_string()),
        };
        // An address in digits is always a header value.
        let value = value.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { ip, value }
    }
}

/// The text of an address, which each new connection needs; that it is not formatted is measured in `benches/README.md`.
fn digits(ip: Ipv4Addr) -> SmallVec<[u8; 16]> {
    let mut text = SmallVec::new();
    for octet in ip.octets() {
        if !text.is_empty() {
            text.push(b'.');
        }
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let zeros = usize::from(octet < 100) + usize::from(octet < 10);
        text.extend(digits[zeros..].iter().map(|digit| b'0' + digit));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_formatted() {
        for octet in 0..=u8::MAX {
            let ip = Ipv4Addr::new(octet, 0, octet.wrapping_mul(7), 255);
            assert_eq!(Address::new(ip.into()).value, *ip.to_string());
        }
        let ip: IpAddr = "2001:db8::7".parse().unwrap();
        assert_eq!(Address::new(ip).value, "2001:db8::7");
    }
}
