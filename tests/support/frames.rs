//! A client of HTTP/2 that sends what frames it is told, sound or not, and tells what it got.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::SOON;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113, section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags; the first is also that of an acknowledgement.
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The bytes of settings.
pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let bytes = values.iter().flat_map(|(key, value)| {
        let key = key.to_be_bytes();
        [&key[..], &value.to_be_bytes()].concat()
    });
    frame(SETTINGS, 0, 0, bytes.collect::<Vec<_>>())
}

/// A block of fields, each written out (RFC 7541, section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            length(text.len(), &mut bytes);
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// An integer with a prefix of seven bits (section 5.1).
fn length(mut value: usize, into: &mut Vec<u8>) {
    if value < 127 {
        into.push(value.to_le_bytes()[0]);
        return;
    }
    into.push(127);
    value -= 127;
    while value >= 128 {
        into.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    into.push(value.to_le_bytes()[0]);
}

/// The pseudo-fields of a request, and more.
pub(crate) fn fields<'a>(method: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", "a"),
    ];
    [&pseudo, more].concat()
}

/// A whole head of a `GET` that is also the end.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    let flags = END_HEADERS | END_STREAM;
    frame(HEADERS, flags, stream, block(&fields("GET", &[])))
}

/// A whole head of a `POST` whose body is to come.
pub(crate) fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, block(&fields("POST", more)))
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A status came for this stream.
    Answered(u16),
    /// The stream was reset for a reason.
    Reset(u32),
    /// The connection ended for a reason.
    Gone(u32),
    /// It ended without a word.
    Closed,
    /// Nothing came.
    Silence,
}

/// A connection.
pub(crate) struct Http2 {
    stream: TcpStream,
}

impl Http2 {
    /// A connection on which the preface and empty settings were sent.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::with(address, &[])
    }

    /// The same with some settings.
    pub(crate) fn with(address: SocketAddr, values: &[(u16, u32)]) -> Self {
        Self::on(TcpStream::connect(address).unwrap(), values)
    }

    /// The same on a socket that is connected.
    pub(crate) fn on(stream: TcpStream, values: &[(u16, u32)]) -> Self {
        let mut this = Self::wrap(stream);
        this.send(&[PREFACE, &settings(values)].concat());
        this
    }

    /// A connection on which nothing was sent.
    pub(crate) fn bare(address: SocketAddr) -> Self {
        Self::wrap(TcpStream::connect(address).unwrap())
    }

    fn wrap(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self { stream }
    }

    /// The socket itself.
    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends as much as the other side takes before it hangs up.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The same, or why they do not go.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The same connection once more, so that it is read beside what is sent.
    pub(crate) fn split(&self) -> Self {
        let stream = self.stream.try_clone().unwrap();
        Self { stream }
    }

    /// The next frame.
    pub(crate) fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload)?;
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The next frame of a kind; those before are passed over.
    #[track_caller]
    pub(crate) fn read_kind(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.read().unwrap();
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads on until the status of a stream, its end or that of the connection.
    pub(crate) fn answer(&mut self, stream: u32) -> End {
        loop {
            match self.read() {
                Ok(frame) if frame.kind == HEADERS && frame.stream == stream => {
                    return End::Answered(status(&frame.payload));
                }
                other => {
                    if let Some(end) = end(other, stream) {
                        return end;
                    }
                }
            }
        }
    }

    /// Reads on until the end of a stream or of the connection, whatever is answered before.
    pub(crate) fn end(&mut self, stream: u32) -> End {
        loop {
            let read = self.read();
            if let Some(end) = end(read, stream) {
                return end;
            }
        }
    }

    /// The body of an answer, to its end.
    #[track_caller]
    pub(crate) fn body(&mut self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.read().unwrap();
            assert!(!matches!(frame.kind, RST_STREAM | GOAWAY), "{frame:?}");
            if frame.stream != stream {
                continue;
            }
            if frame.kind == DATA {
                body.extend_from_slice(&frame.payload);
            }
            if frame.kind != WINDOW_UPDATE && frame.flags & END_STREAM != 0 {
                return body;
            }
        }
    }

    /// Whether the other side closes the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        loop {
            match self.read() {
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }
}

fn end(read: io::Result<Frame>, stream: u32) -> Option<End> {
    let code = |payload: &[u8]| u32::from_be_bytes(payload.try_into().unwrap());
    match read {
        Ok(frame) if frame.kind == GOAWAY => Some(End::Gone(code(&frame.payload[4..8]))),
        Ok(frame) if frame.kind == RST_STREAM && frame.stream == stream => {
            Some(End::Reset(code(&frame.payload)))
        }
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(End::Silence),
        Err(_) => Some(End::Closed),
    }
}

/// The status that a block begins with: of the table that all know, or three digits in Huffman's code
/// (RFC 7541, appendices A and B).
fn status(block: &[u8]) -> u16 {
    // A new size of the table may stand before it.
    let start = block.iter().position(|byte| !(0x20..0x40).contains(byte));
    let block = &block[start.unwrap()..];
    match block[0] {
        known @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(known - 0x88)],
        _ if block[1] & 0x80 == 0 => str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        _ => {
            let length = usize::from(block[1] & 0x7f);
            let bits: String = block[2..2 + length]
                .iter()
                .map(|b| format!("{b:08b}"))
                .collect();
            let (mut rest, mut status) = (bits.as_str(), 0);
            for _ in 0..3 {
                // 0 to 2 have five bits, 3 to 9 have six and begin where those ended.
                let five = u16::from_str_radix(&rest[..5], 2).unwrap();
                let six = rest
                    .get(..6)
                    .map_or(0, |bits| u16::from_str_radix(bits, 2).unwrap());
                let (digit, used) = if five < 3 { (five, 5) } else { (six - 22, 6) };
                status = status * 10 + digit;
                rest = &rest[used..];
            }
            status
        }
    }
}
