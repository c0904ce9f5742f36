//! How addresses and networks are written.
//!
//! Messages have the form `problem; hint`, as in [`super::text`].

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::config::schema::Shape;
use crate::config::written::FromText;

impl FromText for SocketAddr {
    const EXPECTED: &'static str = "an address such as `0.0.0.0:8080`";
    const INSTEAD_OF_NUMBER: &'static str = "write `0.0.0.0:\0`";
    const SHAPE: Shape = Shape::of(
        r"(?:[0-9.]+|\[[^\]\s]+\]):[0-9]{1,5}",
        &["0.0.0.0:8080", "[::]:8080"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        let hint = match (text.parse::<Self>(), text.parse::<IpAddr>()) {
            (Ok(address), _) => return Ok(address),
            (Err(_), Ok(ip)) => format!("add a port: `{}`", Self::new(ip, 8080)),
            (Err(_), Err(_)) => match text.rsplit_once(':') {
                Some(("", port)) => format!("write `0.0.0.0:{port}` for all interfaces"),
                Some(("localhost", port)) => format!("write `127.0.0.1:{port}`"),
                _ => "write an IP address and a port, such as `0.0.0.0:8080` or `[::]:8080`; \
                      host names are not looked up"
                    .to_owned(),
            },
        };
        Err(format!("`{text}` is not an IP address with a port; {hint}"))
    }
}

impl FromText for IpNet {
    const EXPECTED: &'static str = "a network such as `10.0.0.0/8` or an IP address";
    const SHAPE: Shape = Shape::of(
        "[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?",
        &["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(address.to_canonical()));
        }
        let network = Self::from_str(text)
            .map_err(|_| format!("`{text}` is not a network; write `10.0.0.0/8` or `192.0.2.7`"))?;
        let network = canonical(network);
        if network.trunc() == network {
            Ok(network)
        } else {
            let trunc = network.trunc();
            Err(format!(
                "`{text}` has bits set after its prefix; write `{trunc}`"
            ))
        }
    }
}

/// An IPv4 network as such, however it is written: clients' addresses are compared as such, too.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) => network
            .addr()
            .to_ipv4_mapped()
            .zip(network.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    let as_v4 = mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    as_v4.map_or(network, IpNet::V4)
}
