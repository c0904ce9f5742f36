//! Backends that answer as slowly and fail as often as they are told.
//!
//! They speak as much HTTP/1.1 as a proxy needs that sends them requests without a body, byte by
//! byte, for some of their answers are to be none that a library would send.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::lab::LabThread;
use crate::simulator::{Answer, Behaviour, Drawn};

/// The longest head of a request; far more than any proxy adds to one of our callers'.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long to wait with the next connection when one could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n";
const FAILURE: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 6\r\n\r\nsorry\n";
const CUT_SHORT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\nhel";
const NO_HTTP: &[u8] = b"\x7f\x45\x4c\x46 segmentation fault (core dumped)\r\n\r\n";

/// Running backends.
pub struct Backends {
    addresses: Vec<SocketAddr>,
    _thread: LabThread,
}

impl Backends {
    /// Starts a backend for each behaviour, on free loopback ports.
    ///
    /// # Errors
    /// When there is no free port or no thread to be had.
    pub fn start(behaviours: &[Behaviour], seed: u64) -> io::Result<Self> {
        let mut addresses = Vec::new();
        let mut sockets = Vec::new();
        for (place, behaviour) in (0..).zip(behaviours) {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            addresses.push(socket.local_addr()?);
            sockets.push((socket, *behaviour, seed.wrapping_add(place)));
        }
        let thread = LabThread::start("lab-backends", |mut stopping| async move {
            for (socket, behaviour, seed) in sockets {
                spawn_local(serve(socket, behaviour, seed));
            }
            stopping.requested().await;
        })?;
        Ok(Self {
            addresses,
            _thread: thread,
        })
    }

    /// Where they listen, in the order of their behaviours.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

async fn serve(socket: TcpListener, behaviour: Behaviour, seed: u64) {
    let Ok(socket) = tokio::net::TcpListener::from_std(socket) else {
        return;
    };
    let random = Rc::new(RefCell::new(Xoshiro256PlusPlus::seed_from_u64(seed)));
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let random = Rc::clone(&random);
        let _ = stream.set_nodelay(true);
        spawn_local(async move {
            // A client may leave at any time; that is its own affair.
            let _ = converse(stream, || behaviour.draw(&mut random.borrow_mut())).await;
        });
    }
}

/// Answers one request after the other, until either side has enough.
async fn converse(mut stream: TcpStream, draw: impl Fn() -> Drawn) -> io::Result<()> {
    let mut received = Vec::new();
    while read_head(&mut stream, &mut received).await? {
        let Drawn { answer, delay } = draw();
        sleep(delay).await;
        let (bytes, goes_on) = match answer {
            Answer::Good => (GOOD, true),
            Answer::Failure => (FAILURE, true),
            Answer::CutShort => (CUT_SHORT, false),
            Answer::NoHttp => (NO_HTTP, false),
        };
        stream.write_all(bytes).await?;
        if !goes_on {
            break;
        }
    }
    stream.shutdown().await
}

/// Takes one head off what was received, and waits for it if need be; false when there is none
/// any more.
async fn read_head(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<bool> {
    const END: &[u8] = b"\r\n\r\n";
    loop {
        let end = received.windows(END.len()).position(|bytes| bytes == END);
        if let Some(end) = end {
            received.drain(..end + END.len());
            return Ok(true);
        }
        let is_over = received.len() > HEAD_BYTES_MAX || stream.read_buf(received).await? == 0;
        if is_over {
            return Ok(false);
        }
    }
}
