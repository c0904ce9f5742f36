//! The address of a client, as it is compared and as it is told.

use std::net::IpAddr;

use http::HeaderValue;

/// The address at the other end.
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    /// The same as header value.
    pub(crate) value: HeaderValue,
}

impl Address {
    pub(crate) fn new(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        // An address in digits is always a header value.
        let value = HeaderValue::from_str(&ip.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { ip, value }
    }
}
