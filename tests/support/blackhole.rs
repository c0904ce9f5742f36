//! An address that takes no connection and refuses none: its accept queue is full, so that the system drops
//! whatever else would connect, as a firewall does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::raw::{Line, Raw};

/// How many connections are begun at the most before the queue must be full.
const FILLERS_MAX: usize = 16;

/// How long a connection must not have been made to count as swallowed; on this machine it would be made
/// at once.
const SWALLOWED: Duration = Duration::from_millis(200);

pub(crate) struct Blackhole {
    address: SocketAddr,
    listener: TcpListener,
    fillers: Vec<Socket>,
}

impl Blackhole {
    pub(crate) fn open() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = Vec::new();
        while TcpStream::connect_timeout(&address, SWALLOWED).is_ok() {
            assert!(fillers.len() < FILLERS_MAX, "the queue does not fill");
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            // It is under way, or swallowed.
            let _ = filler.connect(&address.into());
            fillers.push(filler);
        }
        Self {
            address,
            listener: listener.into(),
            fillers,
        }
    }

    /// Where it is, as the configuration writes it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes connections from now on, and serves them.
    pub(crate) fn recover(
        self,
        serve: impl Fn(&mut Line<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Raw {
        SockRef::from(&self.listener).listen(1024).unwrap();
        drop(self.fillers);
        Raw::on(self.listener, serve)
    }
}
