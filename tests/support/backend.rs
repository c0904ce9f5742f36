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

use socket2::{Domain, Socket, Type};

use super::http::fields_of;

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
    /// Answers with its name, but takes its time.
    Slow(Duration),
    /// Reads the body and answers with its length and checksum.
    Checksum,
    /// Answers with so many bytes, in which [`pattern`] repeats.
    Bytes(usize),
    /// Sends exactly these bytes and keeps the connection.
    Raw(Vec<u8>),
    /// Sends these bytes and closes.
    RawThenClose(Vec<u8>),
    /// Sends these bytes and then no more.
    RawThenSilence(Vec<u8>),
    /// Answers with its name as if all were well, and closes the connection behind it.
    AnswerThenClose,
    /// Does not read the body, and does not answer, until it behaves otherwise.
    Stall,
}

/// A running backend.
pub(crate) struct TestBackend {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    /// Keeps the port, so that nobody else listens on it, while this backend does not.
    reserved: Option<Socket>,
}

struct Shared {
    name: String,
    behaviour: Mutex<Behaviour>,
    heads: Mutex<VecDeque<String>>,
    requests: AtomicUsize,
    connections: AtomicUsize,
    body_bytes: AtomicUsize,
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
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            behaviour: Mutex::new(behaviour),
            heads: Mutex::default(),
            requests: AtomicUsize::default(),
            connections: AtomicUsize::default(),
            body_bytes: AtomicUsize::default(),
            is_stopping: AtomicBool::default(),
            open: Mutex::default(),
        });
        let mut backend = Self {
            address,
            shared,
            accepting: None,
            reserved: None,
        };
        backend.accept_on(socket);
        backend
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

    /// How many bytes of bodies were read where a behaviour reads them.
    pub(crate) fn body_bytes(&self) -> usize {
        self.shared.body_bytes.load(Ordering::SeqCst)
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

    /// Stops listening and drops every connection; who connects from now on is refused.
    pub(crate) fn die(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        // Wakes up whoever waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
        self.drop_connections();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&self.address.into()).unwrap();
        self.reserved = Some(socket);
    }

    /// Closes every connection, and goes on listening.
    pub(crate) fn drop_connections(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn accept_on(&mut self, socket: TcpListener) {
        let shared = Arc::clone(&self.shared);
        self.accepting = Some(spawn(move || {
            for stream in socket.incoming() {
                if shared.is_stopping.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let kept = stream.try_clone().unwrap();
                shared.open.lock().unwrap().push(kept);
                let shared = Arc::clone(&shared);
                // Ends with its connection, which ends with the backend.
                spawn(move || {
                    let _ = shared.serve(&stream);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        }));
    }
}

impl Drop for TestBackend {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.die();
        }
    }
}

impl Shared {
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
        let (length, sum) = self.read_body(head, reader)?;
        let name = self.name.as_bytes();
        match behaviour {
            Behaviour::Name | Behaviour::AnswerThenClose => respond(stream, 200, name)?,
            Behaviour::Echo => respond(stream, 200, head.as_bytes())?,
            Behaviour::Status(status) => respond(stream, status, name)?,
            Behaviour::Slow(time) => {
                sleep(time);
                respond(stream, 200, name)?;
            }
            Behaviour::Checksum => respond(stream, 200, format!("{length} {sum}").as_bytes())?,
            Behaviour::Bytes(length) => send_bytes(stream, length)?,
            Behaviour::Raw(ref bytes)
            | Behaviour::RawThenClose(ref bytes)
            | Behaviour::RawThenSilence(ref bytes) => stream.write_all(bytes)?,
            Behaviour::Stall => {}
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

    /// Reads a body to its end; returns its length and checksum.
    fn read_body(
        &self,
        head: &str,
        reader: &mut BufReader<&TcpStream>,
    ) -> io::Result<(usize, u64)> {
        let head = Head::read(head);
        let mut checksum = Checksum::default();
        if head.field("transfer-encoding") == Some("chunked") {
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let length = usize::from_str_radix(line.trim(), 16)
                    .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                self.read_part(reader, length, &mut checksum)?;
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
            self.read_part(reader, length.parse().unwrap(), &mut checksum)?;
        }
        Ok((checksum.length, checksum.sum))
    }

    fn read_part(
        &self,
        reader: &mut BufReader<&TcpStream>,
        length: usize,
        checksum: &mut Checksum,
    ) -> io::Result<()> {
        let mut rest = length;
        let mut buffer = vec![0; 64 * 1024];
        while rest > 0 {
            let most = rest.min(buffer.len());
            let count = reader.read(&mut buffer[..most])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            checksum.add(&buffer[..count]);
            self.body_bytes.fetch_add(count, Ordering::SeqCst);
            rest -= count;
        }
        Ok(())
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
    let body = pattern(64 * 1024);
    let mut rest = length;
    while rest > 0 {
        let part = rest.min(body.len());
        stream.write_all(&body[..part])?;
        rest -= part;
    }
    Ok(())
}

/// Bytes in which a lost, doubled or moved piece changes the checksum.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}

/// A checksum that depends on every byte and its place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) length: usize,
    pub(crate) sum: u64,
}

impl Checksum {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut checksum = Self::default();
        checksum.add(bytes);
        checksum
    }

    /// Takes in a piece; FNV-1a over words of eight bytes would be faster, but this is enough.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.sum = (self.sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.length += bytes.len();
    }
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
