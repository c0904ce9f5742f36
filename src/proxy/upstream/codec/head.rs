//! The head of an answer, read out of what has come.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use httparse::{ParserConfig, Response, Status};
use smallvec::SmallVec;

use super::chunked::Chunks;
use super::content::Content;
use super::{BUFFER_BYTES_MAX, CodecError, FIELDS_MAX};

/// A head of an answer.
#[derive(Debug)]
pub struct Head {
    /// What it says in a number.
    pub status: StatusCode,
    /// Of HTTP, as the backend speaks it.
    pub version: Version,
    /// In the order in which they came, those of one name together.
    pub fields: HeaderMap,
    /// What is said beside the status, where it is not what it is always said.
    pub reason: Option<Bytes>,
    /// Whether the connection may be used again.
    pub keeps_alive: bool,
    /// The body that follows.
    pub content: Content,
}

/// What was read.
#[derive(Debug)]
pub enum Read {
    /// The answer's head.
    Head(Head),
    /// The head of an answer before the answer, as it came.
    Interim(Bytes),
    /// Nothing, before more bytes have come.
    NotYet,
}

/// Reads heads until one is the answer's, one answer after the other.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// How many bytes were there when the head was not whole.
    searched: Option<usize>,
}

impl HeadReader {
    /// Reads the next head of what has come as an answer to a method; `spare` is empty, and its memory is used
    /// for the fields.
    ///
    /// # Errors
    /// Where what has come is no head, or a body that follows could be read in more than one way.
    pub fn read(
        &mut self,
        bytes: &mut BytesMut,
        method: &Method,
        spare: &mut HeaderMap,
    ) -> Result<Read, CodecError> {
        let may_be_whole = self.searched.is_none_or(|from| has_end(bytes, from));
        if bytes.is_empty() || !may_be_whole {
            return self.wait(bytes);
        }
        let mut places = SmallVec::new();
        let Some(line) = parse(bytes, &mut places)? else {
            return self.wait(bytes);
        };
        self.searched = None;
        let text = bytes.split_to(line.length).freeze();
        let (fields, said) = collect(&text, &places, std::mem::take(spare))?;
        let status = line.status;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Read::Interim(text));
        }
        let content = content(&line, method, &said, &fields)?;
        let keeps_alive = match said.connection {
            _ if status == StatusCode::SWITCHING_PROTOCOLS => false,
            Said::Nothing => line.version == Version::HTTP_11,
            Said::Plainly(keeps_alive) => keeps_alive,
            Said::Otherwise => keeps_alive(line.version, &fields),
        };
        Ok(Read::Head(Head {
            status,
            version: line.version,
            keeps_alive,
            reason: line.reason.map(|place| text.slice(place)),
            fields,
            content,
        }))
    }

    /// Forgets what came before, of which nothing is left.
    pub const fn begin(&mut self) {
        self.searched = None;
    }

    fn wait(&mut self, bytes: &BytesMut) -> Result<Read, CodecError> {
        if bytes.len() >= BUFFER_BYTES_MAX {
            return Err(CodecError::HeadTooLong);
        }
        self.searched = (!bytes.is_empty()).then_some(bytes.len());
        Ok(Read::NotYet)
    }
}

/// Where a field stands in a head.
struct Place {
    name: Range<usize>,
    value: Range<usize>,
}

/// Most heads have no more fields.
type Places = SmallVec<[Place; 24]>;

/// What is said by a head beside its fields.
struct Line {
    length: usize,
    status: StatusCode,
    version: Version,
    /// Where something else stands than what is always said beside a status.
    reason: Option<Range<usize>>,
}

/// Parses a head; `None` where it is not whole.
fn parse(bytes: &[u8], places: &mut Places) -> Result<Option<Line>, CodecError> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut fields,
    );
    let Status::Complete(length) = parsed.map_err(CodecError::BadHead)? else {
        return Ok(None);
    };
    let place = |part: &[u8]| {
        let from = part.as_ptr().addr() - bytes.as_ptr().addr();
        from..from + part.len()
    };
    let status = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(CodecError::BadStatus)?;
    places.extend(response.headers.iter().map(|field| Place {
        name: place(field.name.as_bytes()),
        value: place(field.value),
    }));
    let reason = response.reason.unwrap_or_default();
    let is_usual = Some(reason) == status.canonical_reason();
    Ok(Some(Line {
        length,
        status,
        version: match response.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        },
        // An empty one stands nowhere in the bytes.
        reason: (!is_usual).then(|| match reason {
            "" => 0..0,
            reason => place(reason.as_bytes()),
        }),
    }))
}

/// What a head says of one thing.
#[derive(Clone, Copy, Default)]
enum Said<T> {
    #[default]
    Nothing,
    /// By one field in the plainest words.
    Plainly(T),
    /// In others, or several times.
    Otherwise,
}

impl<T> Said<T> {
    fn note(&mut self, plain: Option<T>) {
        *self = match (&self, plain) {
            (Self::Nothing, Some(said)) => Self::Plainly(said),
            _ => Self::Otherwise,
        };
    }
}

/// What a head says of what follows it, as far as that is said plainly.
#[derive(Default)]
struct Saying {
    /// Whether the connection is kept.
    connection: Said<bool>,
    /// How long the body is.
    length: Said<u64>,
    /// Whether the body is encoded for its way.
    has_encoding: bool,
}

impl Saying {
    fn note(&mut self, name: &HeaderName, value: &[u8]) {
        match *name {
            header::CONTENT_LENGTH => self.length.note(digits(value)),
            header::CONNECTION if value.eq_ignore_ascii_case(b"keep-alive") => {
                self.connection.note(Some(true));
            }
            header::CONNECTION if value.eq_ignore_ascii_case(b"close") => {
                self.connection.note(Some(false));
            }
            header::CONNECTION => self.connection.note(None),
            header::TRANSFER_ENCODING => self.has_encoding = true,
            _ => {}
        }
    }
}

/// Takes fields out of a head without copying their values.
fn collect(
    text: &Bytes,
    places: &[Place],
    mut fields: HeaderMap,
) -> Result<(HeaderMap, Saying), CodecError> {
    fields.reserve(places.len());
    let mut said = Saying::default();
    for Place { name, value } in places {
        let name = HeaderName::from_bytes(&text[name.clone()]);
        let name = name.map_err(|_| CodecError::BadField)?;
        said.note(&name, &text[value.clone()]);
        let value = HeaderValue::from_maybe_shared(text.slice(value.clone()));
        fields.append(name, value.map_err(|_| CodecError::BadField)?);
    }
    Ok((fields, said))
}

/// Whether there is an empty line in bytes of which so many were there before.
fn has_end(bytes: &[u8], searched: usize) -> bool {
    let bytes = &bytes[searched.saturating_sub(3)..];
    let mut ends = memchr::memchr_iter(b'\n', bytes);
    ends.any(|end| matches!(&bytes[end + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// The body that follows a head (RFC 9112, section 6.3).
fn content(
    line: &Line,
    method: &Method,
    said: &Saying,
    fields: &HeaderMap,
) -> Result<Content, CodecError> {
    let has_none = matches!(
        line.status,
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if has_none || *method == Method::HEAD {
        return Ok(Content::NONE);
    }
    if said.has_encoding {
        if line.version == Version::HTTP_10 {
            return Err(CodecError::BadEncoding);
        }
        let last = fields.get_all(header::TRANSFER_ENCODING).iter().next_back();
        // Of any other only the end of the stream tells the end.
        return Ok(if last.is_some_and(is_chunked) {
            Content::Chunked(Chunks::new())
        } else {
            Content::UntilClose
        });
    }
    let length = match said.length {
        Said::Nothing => None,
        Said::Plainly(length) => Some(length),
        Said::Otherwise => length(fields)?,
    };
    Ok(length.map_or(Content::UntilClose, Content::Length))
}

/// Whether chunks are what was done last to a body.
fn is_chunked(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default();
    let last = text.rsplit(',').next().unwrap_or_default();
    last.trim().eq_ignore_ascii_case("chunked")
}

/// The length that fields give a body; several that say the same are one.
///
/// # Errors
/// Where it is no number, too large a one, or two that differ.
pub fn length(fields: &HeaderMap) -> Result<Option<u64>, CodecError> {
    let mut known = None;
    for value in fields.get_all(header::CONTENT_LENGTH) {
        let text = value.to_str().map_err(|_| CodecError::BadLength)?;
        for number in text.split(',') {
            let number = digits(number.trim().as_bytes()).ok_or(CodecError::BadLength)?;
            if known.replace(number).is_some_and(|before| before != number) {
                return Err(CodecError::BadLength);
            }
        }
    }
    Ok(known)
}

/// A number of digits only. The two greatest that there are do not count: hyper keeps them for itself.
fn digits(text: &[u8]) -> Option<u64> {
    let number = text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|number| !text.is_empty() && *number < u64::MAX - 1)
}

/// Whether a connection may be used again after an answer. Once a field says that it is closed, none may say
/// the contrary.
fn keeps_alive(version: Version, fields: &HeaderMap) -> bool {
    let mut keeps_alive = version == Version::HTTP_11;
    for value in fields.get_all(header::CONNECTION) {
        let text = value.to_str().unwrap_or_default();
        let has = |word: &str| {
            text.split(',')
                .any(|it| it.trim().eq_ignore_ascii_case(word))
        };
        if has("close") {
            return false;
        }
        keeps_alive = keeps_alive || has("keep-alive");
    }
    keeps_alive
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what comes in pieces of a size, as the answer to a method.
    fn read_in(
        pieces: usize,
        method: &Method,
        text: &str,
    ) -> Result<Option<(Head, String)>, String> {
        let mut reader = HeadReader::default();
        let mut bytes = BytesMut::new();
        let mut pieces = text.as_bytes().chunks(pieces);
        loop {
            match reader.read(&mut bytes, method, &mut HeaderMap::new()) {
                Err(error) => return Err(error.to_string()),
                Ok(Read::Head(head)) => {
                    bytes.extend(pieces.flatten());
                    let rest = String::from_utf8(bytes.to_vec()).unwrap();
                    return Ok(Some((head, rest)));
                }
                Ok(Read::Interim(_)) => {}
                Ok(Read::NotYet) => match pieces.next() {
                    Some(piece) => bytes.extend_from_slice(piece),
                    None => return Ok(None),
                },
            }
        }
    }

    fn read(text: &str) -> Result<Option<(Head, String)>, String> {
        read_in(usize::MAX, &Method::GET, text)
    }

    fn content_of(method: &Method, text: &str) -> String {
        match read_in(usize::MAX, method, text) {
            Ok(Some((head, _))) => match head.content {
                Content::Length(left) => left.to_string(),
                Content::Chunked(_) => "chunks".to_owned(),
                Content::UntilClose => "all".to_owned(),
                Content::Closed => "closed".to_owned(),
            },
            Ok(None) => "not whole".to_owned(),
            Err(error) => error,
        }
    }

    #[test]
    fn a_head_is_read_in_whatever_pieces_and_what_follows_is_left() {
        let text = "HTTP/1.1 404 Nicht da\r\na: 1\r\nA:  2 \r\ncontent-length: 3\r\n\r\nabcHTTP";
        for pieces in 1..text.len() {
            let (head, rest) = read_in(pieces, &Method::GET, text).unwrap().unwrap();
            assert_eq!(head.status, StatusCode::NOT_FOUND);
            assert_eq!(head.version, Version::HTTP_11);
            let values: Vec<_> = head.fields.get_all("a").iter().collect();
            assert_eq!(values, ["1", "2"]);
            assert_eq!(head.reason.as_deref(), Some(&b"Nicht da"[..]));
            assert_eq!((head.content.left(), &*rest), (Some(3), "abcHTTP"));
            assert!(head.keeps_alive);
        }
        assert!(read(&text[..40]).unwrap().is_none());
    }

    #[test]
    fn what_comes_before_the_answer_is_passed_over_and_a_switch_is_not() {
        let before = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
        let (head, _) = read(&format!("{before}HTTP/1.1 204 No Content\r\n\r\n"))
            .unwrap()
            .unwrap();
        assert_eq!((head.status, head.reason), (StatusCode::NO_CONTENT, None));
        assert!(head.fields.is_empty());
        let switch = format!("{before}HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nraw");
        let (head, rest) = read(&switch).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), &*rest), (101, "raw"));
        assert!(!head.keeps_alive);
    }

    #[test]
    fn the_body_is_framed_in_one_way_or_not_at_all() {
        for (fields, content) in [
            ("", "all"),
            ("content-length: 7\r\n", "7"),
            ("content-length: 7\r\ncontent-length: 7\r\n", "7"),
            ("content-length: 7, 7\r\n", "7"),
            ("content-length: 7\r\ncontent-length: 8\r\n", "length"),
            ("content-length: 7, 8\r\n", "length"),
            ("content-length: +7\r\n", "length"),
            ("content-length: \r\n", "length"),
            (
                "content-length: 18446744073709551613\r\n",
                "18446744073709551613",
            ),
            ("content-length: 18446744073709551614\r\n", "length"),
            ("content-length: 99999999999999999999\r\n", "length"),
            ("transfer-encoding: chunked\r\n", "chunks"),
            ("transfer-encoding: gzip, Chunked\r\n", "chunks"),
            (
                "transfer-encoding: chunked\r\ncontent-length: 7\r\n",
                "chunks",
            ),
            (
                "transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n",
                "all",
            ),
            ("transfer-encoding: chunked, gzip\r\n", "all"),
            ("content-length : 7\r\n", "no head"),
            ("a: b\r\n c\r\n", "no head"),
            ("a: b\rc\r\n", "no head"),
            (" a: b\r\n", "no head"),
            ("a\r\n", "no head"),
        ] {
            let found = content_of(&Method::GET, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            let is_found = match content {
                "length" | "no head" => found.contains(content),
                content => found == content,
            };
            assert!(is_found, "{fields:?}: {found}");
            let found = content_of(&Method::HEAD, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            assert!(found == "0" || content == "no head", "{fields:?}: {found}");
        }
        for status in [204, 304] {
            let text = format!("HTTP/1.1 {status} x\r\ncontent-length: 7\r\n\r\n");
            assert_eq!(content_of(&Method::GET, &text), "0");
        }
        let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(content_of(&Method::GET, old).contains("encoding"));
        for none in [
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 99 x\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "\0\0\x12\x04",
        ] {
            assert!(read(none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_as_the_answer_says() {
        for (version, field, is_kept) in [
            ("1.1", "a: b", true),
            ("1.1", "connection: x, Close", false),
            ("1.1", "connection: close\r\nconnection: keep-alive", false),
            ("1.0", "a: b", false),
            ("1.0", "connection: Keep-Alive", true),
            ("1.0", "connection: keep-alive\r\nconnection: close", false),
        ] {
            let text = format!("HTTP/{version} 200 OK\r\n{field}\r\ncontent-length: 0\r\n\r\n");
            let (head, _) = read(&text).unwrap().unwrap();
            assert_eq!(head.keeps_alive, is_kept, "{version} {field}");
        }
    }

    #[test]
    fn a_head_has_its_bounds() {
        let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(read(&fields(100)).unwrap().unwrap().0.fields.len(), 100);
        assert!(read(&fields(101)).is_err());
        let long = |bytes: usize| format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(bytes));
        assert!(
            read_in(4096, &Method::GET, &long(30_000))
                .unwrap()
                .is_none()
        );
        assert!(read_in(4096, &Method::GET, &long(40_000)).is_err());
    }
}
