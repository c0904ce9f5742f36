//! Callers who send requests at a steady rate, some of them much more often than others.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::sleep;

use crate::lab::LabThread;
use crate::simulator::Crowd;

/// Connections of each crowd: enough that none has to wait for another's slow answer.
const CONNECTIONS: u32 = 24;

/// Many callers of one path.
#[derive(Clone, Debug)]
pub struct PathCrowd {
    /// What they ask for.
    pub path: String,
    /// Who they are.
    pub crowd: Crowd,
}

/// Running callers, who stop when dropped. Each names itself in `x-user-id`.
pub struct Callers {
    _thread: LabThread,
}

impl Callers {
    /// Lets crowds call an address.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(target: SocketAddr, crowds: Vec<PathCrowd>, seed: u64) -> io::Result<Self> {
        let thread = LabThread::start("lab-callers", move |_| async move {
            let random = Rc::new(RefCell::new(Xoshiro256PlusPlus::seed_from_u64(seed)));
            let mut connections = JoinSet::new();
            for crowd in crowds {
                for _ in 0..CONNECTIONS {
                    connections.spawn_local(call(target, crowd.clone(), Rc::clone(&random)));
                }
            }
            connections.join_all().await;
        })?;
        Ok(Self { _thread: thread })
    }
}

/// One connection's share of a crowd's requests, for good.
async fn call(target: SocketAddr, asking: PathCrowd, random: Rc<RefCell<Xoshiro256PlusPlus>>) {
    let PathCrowd { path, crowd } = asking;
    let own_share = Crowd {
        rate: crowd.rate / f64::from(CONNECTIONS),
        ..crowd
    };
    let mut connection = None;
    loop {
        let (pause, caller) = {
            let mut random = random.borrow_mut();
            let pause = own_share.draw_pause(&mut random);
            (
                Duration::from_secs_f64(pause),
                crowd.draw_caller(&mut random),
            )
        };
        sleep(pause).await;
        let answered = send(&mut connection, target, &path, Crowd::key(caller)).await;
        if answered.is_none() {
            connection = None;
        }
    }
}

async fn send(
    connection: &mut Option<SendRequest<Empty<Bytes>>>,
    target: SocketAddr,
    path: &str,
    key: String,
) -> Option<()> {
    let sender = match connection {
        Some(sender) if !sender.is_closed() => sender,
        _ => {
            let stream = TcpStream::connect(target).await.ok()?;
            let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            spawn_local(async move {
                let _ = driver.await;
            });
            connection.insert(sender)
        }
    };
    let request = Request::get(path)
        .header("host", "demo.example")
        .header("x-user-id", key)
        .body(Empty::new())
        .ok()?;
    sender.ready().await.ok()?;
    let response = sender.send_request(request).await.ok()?;
    response.into_body().collect().await.ok()?;
    Some(())
}
