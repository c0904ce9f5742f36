//! Binds the listening sockets, one for each worker, on the same port.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::runtime::bind::BindError;

/// Connections that may wait to be accepted; the kernel may hold it lower (`somaxconn`).
const BACKLOG: i32 = 4096;

/// The most bytes that the kernel holds for a client before it has begun to send them.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// One configured address, with a socket for each worker.
#[derive(Debug)]
pub struct BoundListener {
    /// The address that is listened on; with the port that was chosen where 0 was asked for.
    pub address: SocketAddr,
    /// The sockets, one for each worker.
    pub sockets: Vec<TcpListener>,
}

/// Binds an address for a number of workers.
///
/// # Errors
/// When the system refuses. A port on which another process listens is refused, too, even if that
/// process would share it.
pub fn bind(address: SocketAddr, workers: usize) -> Result<BoundListener, BindError> {
    let failed = |source| BindError { address, source };
    // Sockets that share a port also share it with a stranger's that asks for the same. One that
    // does not share finds out whether anybody is there.
    let address = open(address, false)
        .and_then(|probe| probe.local_addr())
        .map_err(failed)?;
    let sockets = (0..workers)
        .map(|_| open(address, true))
        .collect::<io::Result<_>>();
    Ok(BoundListener {
        address,
        sockets: sockets.map_err(failed)?,
    })
}

fn open(address: SocketAddr, shares_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if shares_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit both. Answers are small and final, and must not wait for
    // acknowledgements; and whether a client takes them must show soon, not after megabytes.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_and_strangers_do_not() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(first.sockets.len(), 3);
        let error = bind(first.address, 1).unwrap_err().to_string();
        assert!(
            error.ends_with("another program listens there already"),
            "{error}"
        );
    }
}
