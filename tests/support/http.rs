//! An HTTP/1.1 client that sends what it is told, byte by byte, and tells what it got, even if it
//! was cut off.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::str::FromStr;

use serde_json::Value;

use super::SOON;

/// A request as text.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    host: String,
    fields: String,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            host: "shop.test".to_owned(),
            fields: String::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        write!(self.fields, "{name}: {value}\r\n").unwrap();
        self
    }

    /// A body with its length.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len();
        self.field("content-length", &length.to_string())
    }

    /// The head, with the empty line that ends it.
    pub(crate) fn head(&self) -> String {
        let Self {
            method,
            target,
            host,
            fields,
            ..
        } = self;
        format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n")
    }

    /// Sends this on a connection of its own.
    pub(crate) fn send_to(&self, address: SocketAddr) -> Answer {
        Connection::open(address).ask(self)
    }

    /// The same, for a server that may be gone.
    pub(crate) fn try_send_to(&self, address: SocketAddr) -> io::Result<Answer> {
        Connection::try_open(address)?.try_ask(self)
    }
}

/// Reads answers, each with a body of its own length, until the server ends the connection. If it does
/// not, the last one has the status 0.
#[track_caller]
pub(crate) fn read_answers(mut stream: impl Read) -> Vec<Answer> {
    let mut bytes = Vec::new();
    // What it says before it hangs up is what counts.
    let ended = stream.read_to_end(&mut bytes);
    let is_open = ended.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    let (mut answers, rest) = answers_in(&bytes);
    assert!(
        rest.is_empty(),
        "no answer: {:?}",
        rest.escape_ascii().to_string()
    );
    if is_open {
        answers.push(Answer::with_head("HTTP/1.1 0 still open".to_owned()));
    }
    answers
}

/// The answers that bytes begin with, of which the last one may be cut in its body, and what is no answer
/// behind them.
pub(crate) fn answers_in(bytes: &[u8]) -> (Vec<Answer>, &[u8]) {
    let mut rest = bytes;
    let mut answers = Vec::new();
    while let Some(end) = rest.windows(4).position(|part| part == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&rest[..end + 4]).into_owned();
        rest = &rest[end + 4..];
        let mut answer = Answer::with_head(head);
        let length = answer
            .field("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let (body, behind) = rest.split_at(length.min(rest.len()));
        answer.body = body.to_vec();
        rest = behind;
        answers.push(answer);
    }
    (answers, rest)
}

/// A connection to a server, kept until it is dropped.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap()
    }

    /// The same, for a server that may be gone.
    pub(crate) fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(3 * SOON))?;
        stream.set_write_timeout(Some(3 * SOON))?;
        Ok(Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
        })
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends as much as the server takes before it hangs up.
    pub(crate) fn send_in_vain(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end_sending(&self) {
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Answer {
        self.try_ask(request).unwrap()
    }

    /// The same, for a server that may hang up.
    pub(crate) fn try_ask(&mut self, request: &Request) -> io::Result<Answer> {
        let message = [request.head().as_bytes(), &request.body].concat();
        self.stream.get_mut().write_all(&message)?;
        self.read_answer(request.method == "HEAD")
    }

    /// Reads an answer to a request with a body.
    pub(crate) fn answer(&mut self) -> Answer {
        self.read_answer(false).unwrap()
    }

    /// Reads an answer to a request by a method, from a server that may hang up.
    pub(crate) fn read_answer_of(&mut self, method: &str) -> io::Result<Answer> {
        self.read_answer(method == "HEAD")
    }

    /// Reads the head of an answer; its body can be read after it.
    pub(crate) fn answer_head(&mut self) -> Answer {
        Answer::with_head(self.read_head().unwrap())
    }

    /// Reads some bytes of a body.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }

    /// Whether the server has closed the connection, after waiting for it to do or say something.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn read_head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        loop {
            let line = self.stream.read_line(&mut head)?;
            if line == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if head.ends_with("\r\n\r\n") {
                return Ok(head);
            }
        }
    }

    fn read_answer(&mut self, is_bodiless: bool) -> io::Result<Answer> {
        let mut answer = Answer::with_head(self.read_head()?);
        while answer.status / 100 == 1 {
            answer = Answer::with_head(self.read_head()?);
        }
        if is_bodiless || answer.status == 204 || answer.status == 304 {
            return Ok(answer);
        }
        let read = if answer.field("transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut answer)
        } else if let Some(length) = answer.field("content-length") {
            let length = length.parse::<usize>().unwrap();
            answer.body.resize(length, 0);
            self.read_whole(&mut answer.body)
        } else {
            self.stream.read_to_end(&mut answer.body).map(|_| ())
        };
        answer.is_whole = read.is_ok();
        Ok(answer)
    }

    /// Fills a buffer, or shortens it to what came.
    fn read_whole(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        let mut filled = 0;
        while filled < body.len() {
            match self.stream.read(&mut body[filled..]) {
                Ok(count) if count > 0 => filled += count,
                other => {
                    body.truncate(filled);
                    return Err(other
                        .err()
                        .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
        Ok(())
    }

    fn read_chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        loop {
            let line = self.read_line()?;
            let length = line.split(';').next().unwrap_or_default();
            let length = usize::from_str_radix(length.trim(), 16)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if length == 0 {
                break;
            }
            let mut chunk = vec![0; length];
            let read = self.read_whole(&mut chunk);
            answer.body.extend(chunk);
            read?;
            self.read_line()?;
        }
        loop {
            let line = self.read_line()?;
            match line.split_once(':') {
                Some((name, value)) => answer.trailers.push(field_of(name, value)),
                None => return Ok(()),
            }
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.ends_with("\r\n") {
            line.truncate(line.len() - 2);
            Ok(line)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

fn field_of(name: &str, value: &str) -> (String, String) {
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

/// Reads the fields out of a head, names in lower case.
pub(crate) fn fields_of(head: &str) -> Vec<(String, String)> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| field_of(name, value))
        .collect()
}

/// An answer, whole or as far as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether the body came to the end that its framing promises.
    pub(crate) is_whole: bool,
}

impl Answer {
    fn with_head(head: String) -> Self {
        let status = head.split(' ').nth(1).unwrap_or_default();
        Self {
            status: status.parse().unwrap_or_else(|_| panic!("{head:?}")),
            fields: fields_of(&head),
            body: Vec::new(),
            trailers: Vec::new(),
            is_whole: true,
        }
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        Value::from_str(self.text()).unwrap()
    }

    /// Asserts that this is a problem of a status, and returns what it says.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        problem
    }
}
