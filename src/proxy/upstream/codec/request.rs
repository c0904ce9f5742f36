//! A request as it is written: its head, and what frames its body.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use smallvec::SmallVec;

use super::head::length;

/// What a head takes about for each field, in bytes.
const FIELD_BYTES: usize = 48;

/// How a body is framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are to follow.
    Length(u64),
    /// In chunks, with fields behind them where they were announced.
    Chunked {
        /// Which fields these may be.
        announced: Vec<HeaderName>,
    },
}

/// Writes a head, with `further` fields behind the request's own; returns how the body is framed that is to follow.
/// `body` is how many bytes it has, as far as that is known; none where there is no body.
pub fn write_head<B>(
    into: &mut Vec<u8>,
    request: &Request<B>,
    further: &[(&str, HeaderValue)],
    body: Option<Option<u64>>,
) -> Framing {
    let framing = body.map(|size| framing(request, size));
    let is_chunked = matches!(framing, Some(Framing::Chunked { .. }));
    let fields = request.headers();
    into.reserve(128 + (fields.len() + further.len()) * FIELD_BYTES);
    into.extend_from_slice(request.method().as_str().as_bytes());
    into.push(b' ');
    write_target(into, request.uri());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in fields {
        // What frames the body is written behind the others, unless its length stands there already.
        if *name == header::TRANSFER_ENCODING || is_chunked && *name == header::CONTENT_LENGTH {
            continue;
        }
        write_field(into, name.as_str(), value);
    }
    for (name, value) in further {
        write_field(into, name, value);
    }
    match &framing {
        Some(Framing::Chunked { .. }) => {
            into.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        Some(Framing::Length(size @ 1..)) if !fields.contains_key(header::CONTENT_LENGTH) => {
            into.extend_from_slice(format!("content-length: {size}\r\n").as_bytes());
        }
        Some(Framing::Length(_)) | None => {}
    }
    into.extend_from_slice(b"\r\n");
    framing.unwrap_or(Framing::Length(0))
}

fn write_field(into: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(value.as_bytes());
    into.extend_from_slice(b"\r\n");
}

fn write_target(into: &mut Vec<u8>, target: &Uri) {
    match target.path_and_query() {
        Some(text) if target.scheme().is_none() && target.authority().is_none() => {
            into.extend_from_slice(text.as_str().as_bytes());
        }
        _ => into.extend_from_slice(target.to_string().as_bytes()),
    }
}

fn framing<B>(request: &Request<B>, size: Option<u64>) -> Framing {
    let fields = request.headers();
    let is_encoded = fields.contains_key(header::TRANSFER_ENCODING);
    let written = length(fields).ok().flatten().filter(|_| !is_encoded);
    match (written, size) {
        (Some(size), _) => Framing::Length(size),
        (None, Some(size)) if !is_encoded => Framing::Length(size),
        // Nobody expects a body of these, unless it is announced.
        (None, None) if !is_encoded && has_no_body(request.method()) => Framing::Length(0),
        (None, _) => Framing::Chunked {
            announced: announced(fields),
        },
    }
}

const fn has_no_body(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::CONNECT)
}

/// The fields that are to stand behind the body.
fn announced(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(header::TRAILER).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let names = texts.flat_map(|text| text.split(','));
    let names = names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok());
    names.collect()
}

/// A piece of a body with what frames it.
pub type Framed = SmallVec<[Bytes; 3]>;

impl Framing {
    /// Frames a piece that is not empty.
    pub fn frame(&mut self, mut piece: Bytes) -> Framed {
        let mut framed = Framed::new();
        match self {
            Self::Length(left) => {
                piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= piece.len() as u64;
                framed.extend(Some(piece).filter(|piece| !piece.is_empty()));
            }
            Self::Chunked { .. } => {
                framed.push(Bytes::from(format!("{:X}\r\n", piece.len())));
                framed.push(piece);
                framed.push(Bytes::from_static(b"\r\n"));
            }
        }
        framed
    }

    /// What ends a body; `None` where it is not whole.
    pub fn end(&self, trailers: Option<&HeaderMap>) -> Option<Bytes> {
        let announced = match self {
            Self::Length(0) => return Some(Bytes::new()),
            Self::Length(_) => return None,
            Self::Chunked { announced } => announced,
        };
        let mut text = Vec::from(&b"0\r\n"[..]);
        for (name, value) in trailers.into_iter().flatten() {
            if announced.contains(name) && may_follow(name) {
                write_field(&mut text, name.as_str(), value);
            }
        }
        text.extend_from_slice(b"\r\n");
        Some(text.into())
    }
}

/// Whether a field may stand behind a body (RFC 9110, section 6.5.1).
fn may_follow(name: &HeaderName) -> bool {
    const MAY_NOT: [HeaderName; 12] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::HOST,
        header::MAX_FORWARDS,
        header::SET_COOKIE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::TE,
    ];
    !MAY_NOT.contains(name)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn written(
        method: &str,
        fields: &[(&str, &str)],
        body: Option<Option<u64>>,
    ) -> (String, Framing) {
        let mut request = Request::builder().method(method).uri("/a?b=c");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut text = Vec::new();
        let framing = write_head(&mut text, &request.body(()).unwrap(), &[], body);
        (String::from_utf8(text).unwrap(), framing)
    }

    #[test]
    fn a_body_is_framed_once() {
        let chunked = Framing::Chunked {
            announced: Vec::new(),
        };
        let (length, coding) = ("content-length: 7\r\n", "transfer-encoding: chunked\r\n");
        let said = [("content-length", "7")];
        let coded = [("transfer-encoding", "chunked")];
        let both = [said[0], coded[0]];
        for (method, fields, body, line, framing) in [
            ("GET", &[][..], None, "", Framing::Length(0)),
            (
                "POST",
                &[("content-length", "0")],
                None,
                "content-length: 0\r\n",
                Framing::Length(0),
            ),
            ("POST", &said, Some(Some(7)), length, Framing::Length(7)),
            ("POST", &[], Some(Some(7)), length, Framing::Length(7)),
            ("POST", &[], Some(None), coding, chunked.clone()),
            ("GET", &coded, Some(None), coding, chunked.clone()),
            ("POST", &both, Some(Some(7)), coding, chunked),
            ("GET", &[], Some(None), "", Framing::Length(0)),
        ] {
            let (text, found) = written(method, fields, body);
            assert_eq!(text, format!("{method} /a?b=c HTTP/1.1\r\n{line}\r\n"));
            assert_eq!(found, framing, "{text}");
        }
    }

    #[test]
    fn fields_are_written_as_they_are() {
        let (text, _) = written(
            "GET",
            &[("x", "1"), ("host", "shop.test"), ("x", "2")],
            None,
        );
        assert_eq!(
            text,
            "GET /a?b=c HTTP/1.1\r\nx: 1\r\nx: 2\r\nhost: shop.test\r\n\r\n"
        );
        let request = Request::post("/").header("x", "1").body(()).unwrap();
        let further = [("y", HeaderValue::from_static("2"))];
        let mut text = Vec::new();
        write_head(&mut text, &request, &further, Some(Some(7)));
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "POST / HTTP/1.1\r\nx: 1\r\ny: 2\r\ncontent-length: 7\r\n\r\n"
        );
    }

    #[test]
    fn only_fields_that_were_announced_and_may_stand_behind_a_body() {
        let (_, mut framing) = written("POST", &[("trailer", "X, host")], Some(None));
        assert_eq!(
            framing.frame(Bytes::from_static(b"0123456789ab")).concat(),
            b"C\r\n0123456789ab\r\n"
        );
        let mut trailers = HeaderMap::new();
        for name in ["x", "y", "host"] {
            trailers.insert(name, HeaderValue::from_static("1"));
        }
        assert_eq!(framing.end(Some(&trailers)).unwrap(), "0\r\nx: 1\r\n\r\n");
        assert_eq!(framing.end(None).unwrap(), "0\r\n\r\n");
    }

    #[test]
    fn a_body_is_as_long_as_was_said() {
        let mut framing = Framing::Length(5);
        assert_eq!(framing.frame(Bytes::from_static(b"abc")).concat(), b"abc");
        assert_eq!(framing.end(None), None);
        assert_eq!(framing.frame(Bytes::from_static(b"def")).concat(), b"de");
        assert_eq!(framing.end(None), Some(Bytes::new()));
        assert!(framing.frame(Bytes::from_static(b"g")).is_empty());
    }
}
