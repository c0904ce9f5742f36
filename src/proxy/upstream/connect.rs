//! Makes a TCP connection to one endpoint.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpStream, lookup_host};

use crate::domain::backend::Endpoint;
use crate::proxy::error::ProxyError;

/// The most bytes that the kernel holds for a backend before it has begun to send them.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// Connects to the first of an endpoint's addresses that takes a connection.
///
/// # Errors
/// [`ProxyError::Refused`], [`ProxyError::Unreachable`] or [`ProxyError::Exhausted`].
pub(super) async fn connect(endpoint: &Endpoint) -> Result<TcpStream, ProxyError> {
    match connect_any(endpoint).await {
        Ok(stream) => {
            // Requests are small and wait for answers; without this option they would wait for
            // acknowledgements, too. It fails only on a socket that is gone already.
            let _ = stream.set_nodelay(true);
            // Nor must the system take megabytes for a backend that reads none of them.
            let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
            Ok(stream)
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(ProxyError::Refused(error))
        }
        Err(error) if is_shortage(&error) => Err(ProxyError::Exhausted(error)),
        Err(error) => Err(ProxyError::Unreachable(error)),
    }
}

/// Whether it is this machine that lacks something, and not the endpoint: ENOMEM, ENFILE, EMFILE,
/// EADDRNOTAVAIL (no port left to connect from) or ENOBUFS, by their numbers on Linux.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 99 | 105))
}

/// Tries the addresses of an endpoint in order; the last error counts.
async fn connect_any(endpoint: &Endpoint) -> io::Result<TcpStream> {
    if let Ok(address) = endpoint.host.parse::<IpAddr>() {
        return TcpStream::connect(SocketAddr::new(address, endpoint.port)).await;
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((&*endpoint.host, endpoint.port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
