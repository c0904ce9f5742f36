//! A backend that keeps every byte it is sent, and reads them as strictly as can be: what is not
//! exactly one request after the other is a stray.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use socket2::SockRef;

use super::http::{answers_in, fields_of, read_answers};
use super::{Answer, Request, SOON, TestProxy, wait_until};

/// What every request is answered with, unless told otherwise.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// How long an answer is waited for that may never come.
const A_WHILE: Duration = Duration::from_millis(50);

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The whole head, with the empty line.
    pub(crate) head: String,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// Fields behind the body, as they came.
    pub(crate) trailers: String,
    /// Whether it came to its end.
    pub(crate) is_whole: bool,
}

impl Seen {
    /// Method and target.
    pub(crate) fn what(&self) -> &str {
        let line = self.head.lines().next().unwrap_or_default();
        line.strip_suffix(" HTTP/1.1").unwrap_or(line)
    }

    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let fields = fields_of(&self.head).into_iter();
        let found = fields.filter(|(known, _)| known == name);
        found.map(|(_, value)| value).collect()
    }
}

/// A running recorder.
pub(crate) struct Recorder {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: TcpListener,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    strays: Mutex<Vec<String>>,
    /// What the next requests are answered with.
    answers: Mutex<VecDeque<Vec<u8>>>,
    is_stopping: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    /// How many connections are read.
    serving: AtomicUsize,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let (own, theirs) = (listener.try_clone().unwrap(), Arc::clone(&shared));
        let accepting = spawn(move || {
            while let Ok((stream, _)) = own.accept() {
                theirs
                    .open
                    .lock()
                    .unwrap()
                    .push(stream.try_clone().unwrap());
                theirs.serving.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&theirs);
                spawn(move || {
                    shared.serve(stream);
                    shared.serving.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            shared,
            listener,
            accepting: Some(accepting),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the request after those that have an answer already with these bytes.
    pub(crate) fn answer_with(&self, bytes: &[u8]) {
        let mut answers = self.shared.answers.lock().unwrap();
        answers.push_back(bytes.to_vec());
    }

    /// All requests so far, the unfinished ones too.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The same, which are forgotten with it; nothing that is no request may have come.
    #[track_caller]
    pub(crate) fn take(&self) -> Vec<Seen> {
        let strays = self.shared.strays.lock().unwrap().clone();
        assert!(strays.is_empty(), "no requests: {strays:?}");
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let mut reader = Strict {
            stream,
            bytes: Vec::new(),
        };
        loop {
            let mut place = None;
            let read = reader.request(|seen| {
                let mut all = self.seen.lock().unwrap();
                match place {
                    // It may have been taken meanwhile.
                    Some(place) if place < all.len() => all[place] = seen.clone(),
                    _ => {
                        place = Some(all.len());
                        all.push(seen.clone());
                    }
                }
            });
            match read {
                Ok(true) => {}
                Ok(false) => return,
                Err(stray) => {
                    if !self.is_stopping.load(Ordering::SeqCst) {
                        self.strays.lock().unwrap().push(stray);
                    }
                    let _ = reader.stream.shutdown(Shutdown::Both);
                    return;
                }
            }
            let answer = self.answers.lock().unwrap().pop_front();
            let answer = answer.as_deref().unwrap_or(ANSWER);
            if reader.stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// One worker, so that all requests share the connections to the backend.
pub(crate) fn config(recorder: &Recorder) -> String {
    let url = recorder.url();
    format!("workers: 1\nbackends: {{ v1: \"{url}\" }}\nroutes: [{{ backend: v1 }}]\n")
}

/// A proxy before one recorder.
pub(crate) struct Edge {
    pub(crate) proxy: TestProxy,
    pub(crate) backend: Recorder,
}

impl Edge {
    pub(crate) fn start() -> Self {
        let backend = Recorder::start();
        let proxy = TestProxy::start(&config(&backend));
        Self { proxy, backend }
    }

    /// Sends some pieces and reads all answers until the proxy ends the connection.
    pub(crate) fn send(&self, pieces: &[&[u8]]) -> Vec<Answer> {
        read_answers(self.sent(pieces))
    }

    /// The same, where this side ends the connection after a while in which nothing came, if the
    /// proxy does not before.
    ///
    /// Who ends it has left: what was not answered by then never is. So nothing that comes late may be
    /// missed; where a number of answers is known, that is [`Self::send_for`].
    pub(crate) fn send_for_a_while(&self, pieces: &[&[u8]]) -> Vec<Answer> {
        self.send_for(0, pieces)
    }

    /// The same, where so many answers are waited for first, however long they take.
    pub(crate) fn send_for(&self, least: usize, pieces: &[&[u8]]) -> Vec<Answer> {
        let mut stream = self.sent(pieces);
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while answers_in(&bytes).0.len() < least {
            let length = stream.read(&mut chunk).unwrap();
            if length == 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..length]);
        }
        stream.set_read_timeout(Some(A_WHILE)).unwrap();
        let _ = stream.read_to_end(&mut bytes);
        // It may have had enough already.
        let _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(SOON)).unwrap();
        read_answers(io::Cursor::new(bytes).chain(stream))
    }

    fn sent(&self, pieces: &[&[u8]]) -> TcpStream {
        let mut stream = TcpStream::connect(self.proxy.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        for piece in pieces {
            let _ = stream.write_all(piece);
        }
        stream
    }

    /// What the backend has seen, after it was asked once more, on the same connection where that
    /// was kept.
    #[track_caller]
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let probe = Request::get("/probe").send_to(self.proxy.address());
        assert_eq!(probe.status, 200);
        // What was sent on one that was not kept may still have to be read.
        wait_until("all but one connection are read to their end", SOON, || {
            self.backend.shared.serving.load(Ordering::SeqCst) <= 1
        });
        let mut seen = self.backend.take();
        let probe = seen.iter().position(|seen| seen.what() == "GET /probe");
        assert!(seen.remove(probe.unwrap()).is_whole);
        seen
    }
}

/// Reads requests in one way only.
struct Strict {
    stream: TcpStream,
    /// What was read and not used.
    bytes: Vec<u8>,
}

impl Strict {
    /// Reads a request, telling of it at its head and at its end; `false` at the end of the stream.
    fn request(&mut self, mut tell: impl FnMut(&Seen)) -> Result<bool, String> {
        let Some(head) = self.until(b"\r\n\r\n") else {
            return match self.bytes.as_slice() {
                [] => Ok(false),
                rest => Err(format!(
                    "ends in a head: {:?}",
                    rest.escape_ascii().to_string()
                )),
            };
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let length = check_head(&head)?;
        let mut seen = Seen {
            head,
            ..Seen::default()
        };
        tell(&seen);
        seen.is_whole = match length {
            Some(length) => self.exactly(length, &mut seen.body),
            None => self.chunks(&mut seen)?,
        };
        tell(&seen);
        Ok(seen.is_whole)
    }

    fn chunks(&mut self, seen: &mut Seen) -> Result<bool, String> {
        loop {
            let Some(line) = self.until(b"\r\n") else {
                return Ok(false);
            };
            let text = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
            let length = usize::from_str_radix(&text, 16)
                .map_err(|_| format!("no length of a chunk: {text:?}"))?;
            if length == 0 {
                break;
            }
            let mut end = Vec::new();
            if !self.exactly(length, &mut seen.body) || !self.exactly(2, &mut end) {
                return Ok(false);
            }
            if end != b"\r\n" {
                return Err(format!("no end of a chunk: {end:?}"));
            }
        }
        loop {
            match self.until(b"\r\n") {
                None => return Ok(false),
                Some(line) if line == b"\r\n" => return Ok(true),
                Some(line) => seen.trailers += &String::from_utf8_lossy(&line),
            }
        }
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.bytes.windows(end.len()).position(|part| part == end);
            if let Some(at) = found {
                return Some(self.bytes.drain(..at + end.len()).collect());
            }
            if !self.read().unwrap_or(false) {
                return None;
            }
        }
    }

    fn exactly(&mut self, length: usize, into: &mut Vec<u8>) -> bool {
        while self.bytes.len() < length {
            if !self.read().unwrap_or(false) {
                into.append(&mut self.bytes);
                return false;
            }
        }
        into.extend(self.bytes.drain(..length));
        true
    }

    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        let count = self.stream.read(&mut piece)?;
        self.bytes.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }
}

/// Tells how long the body is, `None` where it comes in chunks, if that can be read in one way only.
fn check_head(head: &str) -> Result<Option<usize>, String> {
    let complain = |what: &str| Err(format!("{what}: {head:?}"));
    let lines: Vec<_> = head.trim_end_matches("\r\n").split("\r\n").collect();
    let is_plain = |line: &&str| line.bytes().all(|b| b == b'\t' || b >= b' ' && b != 0x7f);
    if !lines.iter().all(is_plain) || head.starts_with("\r\n") {
        return complain("characters that must not be");
    }
    let words: Vec<_> = lines[0].split(' ').collect();
    if words.len() != 3 || words[2] != "HTTP/1.1" || !(words[1].starts_with('/') || words[1] == "*")
    {
        return complain("a first line");
    }
    let mut lengths = Vec::new();
    let mut hosts = 0;
    let mut is_chunked = false;
    for line in &lines[1..] {
        let Some((name, value)) = line.split_once(": ") else {
            return complain("a field");
        };
        if name.is_empty() || name.contains([' ', '\t']) || name.starts_with(':') {
            return complain("a name");
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.to_owned()),
            "transfer-encoding" if is_chunked || value != "chunked" => return complain("coding"),
            "transfer-encoding" => is_chunked = true,
            "host" => hosts += 1,
            _ => {}
        }
    }
    if hosts != 1 || lengths.len() + usize::from(is_chunked) > 1 {
        return complain("framing or host");
    }
    match lengths.first().map(|length| length.parse()) {
        Some(Err(_)) => complain("a length"),
        Some(Ok(length)) => Ok(Some(length)),
        None => Ok((!is_chunked).then_some(0)),
    }
}
