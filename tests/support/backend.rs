//! A backend that does as it is told and remembers what it was asked.
//!
//! One thread for each connection, blocking sockets: what it does, it does byte by byte and in
//! the order in which it reads here.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::http::fields_of;

/// A socket cannot hold less that is not sent yet.
const SEND_BUFFER_MIN: usize = 4 * 1024;

/// The most heads that are remembered.
const HEADS_MAX: usize = 10_000;

/// What a backend does with a request whose head it has read.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Answers with its name.
    Name,
    /// Answers with the request's head, as it came.
    Echo,
    /// Answers with a status.
    Status(u16),
    /// Answers with the status of the first of these texts that is in the head; else with its name.
    StatusWhere(Vec<(&'static str, u16)>),
    /// Answers with its name, but takes its time.
    Slow(Duration),
    /// Reads the body and answers with its length and whether it is the [`pattern`].
    Verify,
    /// Answers with so many bytes of the [`pattern`].
    Bytes(usize),
    /// The same from a socket that holds hardly any of them, so that they wait until they are read.
    HeldBytes(usize),
    /// Sends exactly these bytes and keeps the connection.
    Raw(Vec<u8>),
    /// Sends these bytes and closes.
    RawThenClose(Vec<u8>),
    /// Sends these bytes and then no more.
    RawThenSilence(Vec<u8>),
    /// Sends these bytes before it reads the body, and then only reads.
    RawThenRead(Vec<u8>),
    /// Answers with its name as if all were well, and closes the connection behind it.
    AnswerThenClose,
    /// Does not read the body, and does not answer, until it behaves otherwise.
    Stall,
}

/// A running backend.
pub(crate) struct TestBackend {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: TcpListener,
    accepting: Option<JoinHandle<()>>,
    /// Keeps the port, so that nobody else listens on it when this backend no longer does.
    _reserved: Socket,
}

struct Shared {
    name: String,
    behaviour: Mutex<Behaviour>,
    heads: Mutex<VecDeque<String>>,
    requests: AtomicUsize,
    connections: AtomicUsize,
    closed: AtomicUsize,
    is_stopping: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl TestBackend {
    /// Starts a backend that answers with its name.
    pub(crate) fn start(name: &str) -> Self {
        Self::with(name, Behaviour::Name)
    }

    /// Starts a backend with a behaviour.
    pub(crate) fn with(name: &str, behaviour: Behaviour) -> Self {
        let socket = bound(0);
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let reserved = bound(address.port());
        socket.listen(1024).unwrap();
        let listener = TcpListener::from(socket);
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            behaviour: Mutex::new(behaviour),
            heads: Mutex::default(),
            requests: AtomicUsize::default(),
            connections: AtomicUsize::default(),
            closed: AtomicUsize::default(),
            is_stopping: AtomicBool::default(),
            open: Mutex::default(),
        });
        let accepting = shared.accept_on(listener.try_clone().unwrap());
        Self {
            address,
            shared,
            listener,
            accepting: Some(accepting),
            _reserved: reserved,
        }
    }

    /// A backend that refuses connections.
    pub(crate) fn dead() -> Self {
        let mut backend = Self::start("dead");
        backend.die();
        backend
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is, as the configuration writes it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// How many requests have come, counted by their heads.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many of these were closed, by whichever side.
    pub(crate) fn closed(&self) -> usize {
        self.shared.closed.load(Ordering::SeqCst)
    }

    /// The heads of the latest requests, in order.
    pub(crate) fn heads(&self) -> Vec<Head> {
        let heads = self.shared.heads.lock().unwrap();
        heads.iter().map(|text| Head::read(text)).collect()
    }

    /// The head of the latest request.
    pub(crate) fn last_head(&self) -> Head {
        self.heads().pop().expect("a request has come")
    }

    /// Stops listening and closes every connection once what it was asked is answered; who
    /// connects from now on is refused.
    pub(crate) fn die(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        // Closing would not do: a process that another test is starting just now holds a copy.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
        self.shut(Shutdown::Read);
    }

    /// Closes every connection, and goes on listening.
    pub(crate) fn drop_connections(&self) {
        self.shut(Shutdown::Both);
    }

    fn shut(&self, how: Shutdown) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(how);
        }
    }
}

pub(crate) fn bound(port: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.bind(&address.into()).unwrap();
    socket
}

impl Drop for TestBackend {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.die();
        }
    }
}

impl Shared {
    fn accept_on(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<()> {
        let shared = Arc::clone(self);
        spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let kept = stream.try_clone().unwrap();
                shared.open.lock().unwrap().push(kept);
                let shared = Arc::clone(&shared);
                // Ends with its connection, which ends with the backend.
                spawn(move || {
                    // How a client leaves is its own affair.
                    let _ = shared.serve(&stream);
                    let _ = stream.shutdown(Shutdown::Both);
                    shared.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        })
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(head) = read_head(&mut reader)? {
            self.requests.fetch_add(1, Ordering::SeqCst);
            let mut heads = self.heads.lock().unwrap();
            heads.push_back(head.clone());
            if heads.len() > HEADS_MAX {
                heads.pop_front();
            }
            drop(heads);
            if !self.answer(&head, &mut reader, stream)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Answers one request; tells whether the connection goes on.
    fn answer(
        &self,
        head: &str,
        reader: &mut BufReader<&TcpStream>,
        mut stream: &TcpStream,
    ) -> io::Result<bool> {
        let behaviour = self.behaviour.lock().unwrap().clone();
        if matches!(behaviour, Behaviour::Stall) {
            while matches!(*self.behaviour.lock().unwrap(), Behaviour::Stall) {
                if self.is_stopping.load(Ordering::SeqCst) {
                    return Ok(false);
                }
                sleep(Duration::from_millis(5));
            }
            return self.answer(head, reader, stream);
        }
        if let Behaviour::RawThenRead(ref bytes) = behaviour {
            stream.write_all(bytes)?;
            io::copy(reader, &mut io::sink())?;
            return Ok(false);
        }
        let received = read_body(head, reader)?;
        let name = self.name.as_bytes();
        match behaviour {
            Behaviour::Name | Behaviour::AnswerThenClose => respond(stream, 200, name)?,
            Behaviour::Echo => respond(stream, 200, head.as_bytes())?,
            Behaviour::Status(status) => respond(stream, status, name)?,
            Behaviour::StatusWhere(ref cases) => {
                let case = cases.iter().find(|(text, _)| head.contains(text));
                respond(stream, case.map_or(200, |(_, status)| *status), name)?;
            }
            Behaviour::Slow(time) => {
                sleep(time);
                respond(stream, 200, name)?;
            }
            Behaviour::Verify => respond(stream, 200, received.describe().as_bytes())?,
            Behaviour::Bytes(length) => send_bytes(stream, length)?,
            Behaviour::HeldBytes(length) => {
                SockRef::from(stream).set_send_buffer_size(SEND_BUFFER_MIN)?;
                send_bytes(stream, length)?;
            }
            Behaviour::Raw(ref bytes)
            | Behaviour::RawThenClose(ref bytes)
            | Behaviour::RawThenSilence(ref bytes) => stream.write_all(bytes)?,
            Behaviour::Stall | Behaviour::RawThenRead(_) => {}
        }
        if let Behaviour::RawThenSilence(_) = behaviour {
            // Until the other side has had enough, or this backend stops.
            reader.read_exact(&mut [0])?;
        }
        Ok(!matches!(
            behaviour,
            Behaviour::AnswerThenClose | Behaviour::RawThenClose(_)
        ))
    }
}

/// Reads a body to its end.
fn read_body(head: &str, reader: &mut BufReader<&TcpStream>) -> io::Result<Received> {
    let head = Head::read(head);
    let mut received = Received::default();
    if head.field("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            received.read(reader, length)?;
            if length == 0 {
                // Trailers, if any, then an empty line.
                while line != "\r\n" {
                    line.clear();
                    reader.read_line(&mut line)?;
                }
                break;
            }
            reader.read_line(&mut line)?;
        }
    } else if let Some(length) = head.field("content-length") {
        received.read(reader, length.parse().unwrap())?;
    }
    Ok(received)
}

/// What came of a body.
#[derive(Default)]
struct Received {
    length: usize,
    /// Whether some byte is not the [`pattern`]'s at its place.
    differs: bool,
}

impl Received {
    fn read(&mut self, reader: &mut BufReader<&TcpStream>, length: usize) -> io::Result<()> {
        let end = self.length + length;
        let expected = pattern(64 * 1024 + PERIOD);
        let mut buffer = vec![0; 64 * 1024];
        while self.length < end {
            let most = buffer.len().min(end - self.length);
            let count = reader.read(&mut buffer[..most])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let place = self.length % PERIOD;
            self.differs |= buffer[..count] != expected[place..place + count];
            self.length += count;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let verdict = if self.differs { "changed" } else { "as sent" };
        format!("{} bytes {verdict}", self.length)
    }
}

fn read_head(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

fn respond(mut stream: &TcpStream, status: u16, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Test\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())
}

fn send_bytes(mut stream: &TcpStream, length: usize) -> io::Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes())?;
    let body = pattern(256 * PERIOD);
    let mut rest = length;
    while rest > 0 {
        let part = rest.min(body.len());
        stream.write_all(&body[..part])?;
        rest -= part;
    }
    Ok(())
}

/// After how many bytes the [`pattern`] repeats: a prime, so that no buffer's length is a multiple.
const PERIOD: usize = 251;

/// Bytes in which a lost, doubled or moved piece shows.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..=250).collect();
    let mut bytes = period.repeat(length.div_ceil(PERIOD));
    bytes.truncate(length);
    bytes
}

/// The head of a request as a backend saw it.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Method, target and version.
    pub(crate) line: String,
    /// All fields in order, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn read(text: &str) -> Self {
        Self {
            line: text.lines().next().unwrap_or_default().to_owned(),
            fields: fields_of(text),
        }
    }

    /// The value of a field; all its values, where it comes several times.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let found = self.fields.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that comes at most once.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} comes several times: {values:?}");
        values.first().copied()
    }
}
