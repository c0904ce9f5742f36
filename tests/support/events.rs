//! A client of event streams, as browsers are.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use serin::runtime::clock;

use super::SOON;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A stream whose head has come.
#[derive(Debug)]
pub(crate) struct EventStream {
    lines: BufReader<TcpStream>,
    pub(crate) head: String,
}

impl EventStream {
    /// Asks for a stream, with more header fields, each with its line's end.
    pub(crate) fn open(address: SocketAddr, path: &str, fields: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(3 * SOON)).unwrap();
        // Of version 1.0, so that the body comes as it is, without chunks.
        let head = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut opened = Self {
            lines: BufReader::new(stream),
            head: String::new(),
        };
        loop {
            let line = opened.line().expect("the answer has a head");
            if line.is_empty() {
                return opened;
            }
            opened.head += &(line + "\n");
        }
    }

    /// The next event; none when the stream has ended.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        let begun = clock::monotonic();
        loop {
            let line = self.line()?;
            // A stream that has nothing to tell says so now and then.
            assert!(begun.elapsed() < 3 * SOON, "no event comes");
            match line.split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => event.data = data.parse().unwrap(),
                // How long to wait before one comes back, and what keeps a stream open.
                _ if line.is_empty() && event != Event::default() => return Some(event),
                _ => {}
            }
        }
    }

    /// The next event that is wanted; others are passed over.
    pub(crate) fn find(&mut self, name: &str, is_wanted: impl Fn(&Value) -> bool) -> Event {
        let begun = clock::monotonic();
        loop {
            let event = self.next().expect("the stream goes on");
            if event.name == name && is_wanted(&event.data) {
                return event;
            }
            assert!(begun.elapsed() < 3 * SOON, "no such `{name}` comes");
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let text = line.strip_suffix('\n')?;
        Some(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}
