//! Backends that answer as slowly and fail as often as they are told.

use std::cell::RefCell;
use std::convert::Infallible;
use std::f64::consts::TAU;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::lab::LabThread;

/// How a backend behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// The median of the time it takes to answer.
    pub median: Duration,
    /// The spread of that time: the standard deviation of its logarithm.
    pub spread: f64,
    /// The share of answers that are a 500, 0 to 1.
    pub failures: f64,
    /// The share of answers that take `slowdown` times as long, 0 to 1.
    pub slow: f64,
    /// How much longer these take.
    pub slowdown: f64,
}

impl Behaviour {
    /// A backend as it should be: 5 ms, hardly a failure.
    pub const HEALTHY: Self = Self {
        median: Duration::from_millis(5),
        spread: 0.3,
        failures: 0.003,
        slow: 0.0,
        slowdown: 1.0,
    };

    fn draw(&self, random: &mut SmallRng) -> (Duration, StatusCode) {
        // Box and Muller (1958): a normal deviate from two even ones.
        let (u, v): (f64, f64) = (random.random(), random.random());
        let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos();
        let factor = if random.random::<f64>() < self.slow {
            self.slowdown
        } else {
            1.0
        };
        let status = if random.random::<f64>() < self.failures {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        };
        (
            self.median.mul_f64((self.spread * normal).exp() * factor),
            status,
        )
    }
}

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
        for (seed, behaviour) in (seed..).zip(behaviours) {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            addresses.push(socket.local_addr()?);
            sockets.push((socket, *behaviour, seed));
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
    let random = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    while let Ok((stream, _)) = socket.accept().await {
        let random = Rc::clone(&random);
        let _ = stream.set_nodelay(true);
        let answer = service_fn(move |_| {
            let (delay, status) = behaviour.draw(&mut random.borrow_mut());
            async move {
                sleep(delay).await;
                let mut response = Response::new(Full::new(Bytes::from_static(b"hello\n")));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        spawn_local(async move {
            // A client may leave at any time; that is its own affair.
            let _ = connection.await;
        });
    }
}
