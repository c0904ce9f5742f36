//! Makes a connection to one endpoint.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::domain::backend::Endpoint;
use crate::proxy::error::ProxyError;

/// Connects within a limit of time that covers the name's lookup and all its addresses.
///
/// # Errors
/// [`ProxyError::Refused`], [`ProxyError::Unreachable`], [`ProxyError::Exhausted`] or
/// [`ProxyError::ConnectTimeout`].
pub(crate) async fn connect(endpoint: &Endpoint, limit: Duration) -> Result<TcpStream, ProxyError> {
    match timeout(limit, connect_any(endpoint)).await {
        Ok(Ok(stream)) => {
            // Requests are small and wait for answers; without this option they would wait for
            // acknowledgements, too. It fails only on a socket that is gone already.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(ProxyError::Refused(error))
        }
        Ok(Err(error)) if is_shortage(&error) => Err(ProxyError::Exhausted(error)),
        Ok(Err(error)) => Err(ProxyError::Unreachable(error)),
        Err(_) => Err(ProxyError::ConnectTimeout),
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
