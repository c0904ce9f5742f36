//! A webhook that answers as it is told, is gone when it is told, and remembers what it heard.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

use serde_json::Value;
use socket2::Socket;

use super::backend::bound;
use super::{SOON, wait_for};

/// What a webhook does with a message that has come as a whole.
#[derive(Clone, Debug)]
pub(crate) enum Manners {
    /// Answers with a status and a text.
    Answer(u16, &'static str),
    /// Answers with a status, and repeats the head of the request.
    Repeat(u16),
    /// Does not answer.
    Hang,
}

/// A running webhook.
pub(crate) struct Hook {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<TcpListener>,
    /// Keeps the port while nobody listens on it.
    _reserved: Socket,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

struct Shared {
    manners: Mutex<Manners>,
    heard: Mutex<Vec<Heard>>,
    open: Mutex<Vec<TcpStream>>,
}

impl Hook {
    pub(crate) fn start(manners: Manners) -> Self {
        let socket = bound(0);
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut hook = Self {
            address,
            shared: Arc::new(Shared {
                manners: Mutex::new(manners),
                heard: Mutex::default(),
                open: Mutex::default(),
            }),
            listener: None,
            _reserved: bound(address.port()),
        };
        hook.listen(socket);
        hook
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook/s3cr3t-p4th", self.address)
    }

    pub(crate) fn behave(&self, manners: Manners) {
        *self.shared.manners.lock().unwrap() = manners;
    }

    /// Refuses connections from now on.
    pub(crate) fn go(&mut self) {
        let listener = self.listener.take().unwrap();
        // Wakes who accepts, so that the socket is closed.
        socket2::SockRef::from(&listener)
            .shutdown(std::net::Shutdown::Both)
            .unwrap();
        drop(listener);
        let open = std::mem::take(&mut *self.shared.open.lock().unwrap());
        for stream in open {
            // It may be closed already.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub(crate) fn come_back(&mut self) {
        self.listen(bound(self.address.port()));
    }

    fn listen(&mut self, socket: Socket) {
        socket.listen(128).unwrap();
        let listener = TcpListener::from(socket);
        let (own, shared) = (listener.try_clone().unwrap(), Arc::clone(&self.shared));
        // Ends with the test, or when it goes.
        spawn(move || {
            while let Ok((stream, _)) = own.accept() {
                let copy = stream.try_clone().unwrap();
                shared.open.lock().unwrap().push(copy);
                let shared = Arc::clone(&shared);
                spawn(move || serve(stream, &shared));
            }
        });
        self.listener = Some(listener);
    }

    /// Every message that has come.
    pub(crate) fn messages(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// Every body that has come.
    pub(crate) fn heard(&self) -> Vec<Value> {
        let heard = self.messages().into_iter();
        heard.map(|heard| heard.body).collect()
    }

    /// Waits until so many have come, and gives them.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Value> {
        wait_for(&format!("{count} messages"), SOON, || {
            let heard = self.heard();
            (heard.len() >= count).then_some(heard)
        })
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or_default() == 0 {
                return;
            }
        }
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = serde_json::from_slice(&body).unwrap();
        shared
            .heard
            .lock()
            .unwrap()
            .push(Heard { head: lower, body });
        let manners = shared.manners.lock().unwrap().clone();
        let (status, text) = match manners {
            Manners::Answer(status, text) => (status, text.to_owned()),
            Manners::Repeat(status) => (status, head),
            Manners::Hang => {
                // Until the other side gives up.
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        let length = text.len();
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{text}");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
