//! A server that does what a test says with each connection, byte by byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use socket2::SockRef;

use super::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, block, frame, settings,
};
use super::http::fields_of;

/// A running server; ends with all its connections when it is dropped.
pub(crate) struct Raw {
    address: SocketAddr,
    listener: TcpListener,
    open: Arc<Mutex<Vec<Weak<TcpStream>>>>,
    connections: Arc<AtomicUsize>,
    accepting: Option<JoinHandle<()>>,
}

impl Raw {
    /// Serves each connection on a thread of its own; it is closed when `serve` returns.
    pub(crate) fn start(
        serve: impl Fn(&mut Line<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self::on(listener, serve)
    }

    /// The same on a socket that listens already.
    pub(crate) fn on(
        listener: TcpListener,
        serve: impl Fn(&mut Line<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let (open, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let serve = Arc::new(serve);
        let accepting = spawn({
            let (listener, open) = (listener.try_clone().unwrap(), Arc::clone(&open));
            let connections = Arc::clone(&connections);
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true).unwrap();
                    let stream = Arc::new(stream);
                    let known: &Mutex<Vec<_>> = &open;
                    known.lock().unwrap().push(Arc::downgrade(&stream));
                    connections.fetch_add(1, Ordering::SeqCst);
                    let serve = Arc::clone(&serve);
                    // Ends with its connection, which ends with the server.
                    spawn(move || {
                        let mut line = Line(BufReader::new(&*stream));
                        // How the other side leaves is its own affair.
                        let _ = serve(&mut line);
                        if line.socket().linger().unwrap().is_none() {
                            let _ = line.socket().shutdown(Shutdown::Both);
                        }
                    });
                }
            }
        });
        Self {
            address: listener.local_addr().unwrap(),
            listener,
            open,
            connections,
            accepting: Some(accepting),
        }
    }

    /// Where it is, as the configuration writes it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Closing would not do: a process that another test is starting just now holds a copy.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        let open = std::mem::take(&mut *self.open.lock().unwrap());
        for stream in open.iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// One connection.
pub(crate) struct Line<'a>(BufReader<&'a TcpStream>);

impl Line<'_> {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(*self.0.get_ref())
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// Says that all is well.
    pub(crate) fn answer(&mut self, body: &str) -> io::Result<()> {
        let length = body.len();
        self.say(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    /// Reads a head, with the empty line that ends it; none at the end of the connection.
    pub(crate) fn head(&mut self) -> io::Result<Option<String>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.0.read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(String::from_utf8_lossy(&head).into_owned()))
    }

    /// Reads the body that a head announces, to its end.
    pub(crate) fn body(&mut self, head: &str) -> io::Result<Vec<u8>> {
        let fields = fields_of(head);
        let field = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let mut body = Vec::new();
        if field("transfer-encoding").is_some() {
            loop {
                let mut line = String::new();
                self.0.read_line(&mut line)?;
                let length = usize::from_str_radix(line.trim(), 16);
                let length = length.map_err(|_| io::Error::other(format!("no chunk: {line:?}")))?;
                let start = body.len();
                body.resize(start + length, 0);
                self.0.read_exact(&mut body[start..])?;
                line.clear();
                self.0.read_line(&mut line)?;
                if length == 0 {
                    break;
                }
            }
        } else if let Some(length) = field("content-length") {
            body.resize(length.parse().unwrap(), 0);
            self.0.read_exact(&mut body)?;
        }
        Ok(body)
    }

    /// Reads until the other side ends the connection.
    pub(crate) fn read_on(&mut self) -> io::Result<()> {
        io::copy(&mut self.0, &mut io::sink()).map(|_| ())
    }

    /// The same, for so long at the most.
    pub(crate) fn read_on_for(&mut self, time: Duration) {
        self.socket().set_read_timeout(Some(time)).unwrap();
        // That nothing comes any more is what was waited for.
        let _ = self.read_on();
    }

    /// Has the connection end with a reset.
    pub(crate) fn reset(&self) {
        self.socket().set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Begins to speak HTTP/2.
    pub(crate) fn begin_http2(&mut self) -> io::Result<()> {
        let mut preface = [0; PREFACE.len()];
        self.0.read_exact(&mut preface)?;
        self.say(settings(&[]))
    }

    /// The stream of the next request over HTTP/2 whose head comes.
    pub(crate) fn stream(&mut self) -> io::Result<u32> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload)?;
            if head[3] == HEADERS {
                return Ok(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            }
        }
    }

    /// Answers a stream, as a whole or without its end.
    pub(crate) fn answer_stream(
        &mut self,
        stream: u32,
        body: &str,
        is_whole: bool,
    ) -> io::Result<()> {
        let head = block(&[(":status", "200")]);
        let flags = if is_whole { END_STREAM } else { 0 };
        let head = frame(HEADERS, END_HEADERS, stream, head);
        self.say([head, frame(DATA, flags, stream, body)].concat())
    }

    pub(crate) fn reset_stream(&mut self, stream: u32, code: u32) -> io::Result<()> {
        self.say(frame(RST_STREAM, 0, stream, code.to_be_bytes()))
    }

    /// Says that it goes, and which stream is the last that it cares for.
    pub(crate) fn go_away(&mut self, last: u32) -> io::Result<()> {
        let payload = [last.to_be_bytes(), [0; 4]].concat();
        self.say(frame(GOAWAY, 0, 0, payload))
    }
}
