//! Reads the PROXY header that a connection may begin with, version 1 or 2.
//!
//! A layer-4 load balancer says in it whom it passes on, before anything else is said (the protocol's
//! text is haproxy's `doc/proxy-protocol.txt`). What it says is read by the crate `proxy-header`. Here
//! is decided how many bytes it gets to see, so that the answer does not hang on how they came: never
//! any that stand behind the header, and never more than the longest header has.

use std::net::IpAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};

/// What version 1 begins with.
const TEXT_SIGNATURE: &[u8] = b"PROXY ";

/// The longest header of version 1, with its line end (section 2.1).
const TEXT_BYTES_MAX: usize = 107;

/// What version 2 begins with.
const BINARY_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2's signature, version and command, family, and length.
const BINARY_FIXED_BYTES: usize = 16;

/// The most that may come behind that. Addresses take at most 216 bytes and a TLS client's certificate,
/// the longest field that is in use, some 2 KiB.
const BINARY_REST_BYTES_MAX: usize = 4 * 1024;

/// Version 2, and the command of who speaks for itself, as in a health check.
const BINARY_LOCAL: u8 = 0x20;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// The beginning of a header, or of something that looks like one so far.
    Partial,
    /// Something else.
    Other,
    /// A header.
    Header {
        /// So many bytes; others may follow.
        length: usize,
        /// Who is passed on. None where the peer speaks for itself, or does not know an address.
        client: Option<IpAddr>,
    },
    /// What begins like a header and is none.
    Malformed,
}

impl Opening {
    /// Looks at all the bytes that have come so far.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let begins = |signature: &[u8]| {
            let common = signature.len().min(bytes.len());
            bytes[..common] == signature[..common]
        };
        if begins(TEXT_SIGNATURE) {
            Self::read(&bytes[..bytes.len().min(TEXT_BYTES_MAX)], TEXT_BYTES_MAX)
        } else if begins(BINARY_SIGNATURE) {
            Self::of_binary(bytes)
        } else {
            Self::Other
        }
    }

    fn of_binary(bytes: &[u8]) -> Self {
        let Some(fixed) = bytes.first_chunk::<BINARY_FIXED_BYTES>() else {
            return Self::Partial;
        };
        let [.., command, _, high, low] = *fixed;
        let rest = usize::from(u16::from_be_bytes([high, low]));
        if rest > BINARY_REST_BYTES_MAX {
            return Self::Malformed;
        }
        let length = BINARY_FIXED_BYTES + rest;
        let header = &bytes[..bytes.len().min(length)];
        if command == BINARY_LOCAL {
            // Whatever addresses come with it are to be ignored (section 2.2), even those that the crate
            // does not know.
            return match header.len() {
                whole if whole == length => Self::Header {
                    length,
                    client: None,
                },
                _ => Self::Partial,
            };
        }
        Self::read(header, length)
    }

    /// Reads a header that has `length` bytes at most, of those that have come.
    fn read(header: &[u8], length: usize) -> Self {
        let config = ParseConfig {
            include_tlvs: false,
            ..ParseConfig::default()
        };
        match ProxyHeader::parse(header, config) {
            Ok((read, length)) => Self::Header {
                length,
                client: read.proxied_address().map(|address| address.source.ip()),
            },
            Err(Error::BufferTooShort) if header.len() < length => Self::Partial,
            Err(_) => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of version 2, with its rest.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [BINARY_SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn header(bytes: &[u8], client: Option<&str>) -> Opening {
        Opening::Header {
            length: bytes.len(),
            client: client.map(|client| client.parse().unwrap()),
        }
    }

    /// Bytes of four addresses and ports, so that they fit every family.
    fn addresses() -> Vec<u8> {
        let source = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap();
        [&source.octets()[..], &[0; 20]].concat()
    }

    /// Whole headers, with the client that each names.
    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0, 80, 0, 80];
        let tlv = [&v4[..], &[0x04, 0, 2, 9, 9, 0xee, 0, 1, 7]].concat();
        let odd_tlv = [&v4[..], &[0x04, 0xff]].concat();
        let longest = [&v4[..], &[0; BINARY_REST_BYTES_MAX - 12]].concat();
        let text = |line: &str| line.as_bytes().to_vec();
        let v6 = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff";
        vec![
            (
                text("PROXY TCP4 192.0.2.1 10.0.0.1 80 80\r\n"),
                Some("192.0.2.1"),
            ),
            (
                text("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"),
                Some("2001:db8::1"),
            ),
            (text("PROXY UNKNOWN\r\n"), None),
            (
                text(&format!("PROXY UNKNOWN {v6}f {v6}f 65535 65535\r\n")),
                None,
            ),
            (binary(0x21, 0x11, &v4), Some("192.0.2.1")),
            (binary(0x21, 0x12, &v4), Some("192.0.2.1")),
            (binary(0x21, 0x21, &addresses()), Some("2001:db8::1")),
            (binary(0x21, 0x11, &tlv), Some("192.0.2.1")),
            (binary(0x21, 0x11, &odd_tlv), Some("192.0.2.1")),
            (binary(0x21, 0x11, &longest), Some("192.0.2.1")),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0x11, &[]), None),
            (binary(0x20, 0x99, &[1, 2, 3]), None),
        ]
    }

    #[test]
    fn a_header_is_read_up_to_its_end_and_no_further() {
        for (bytes, client) in good() {
            let expected = header(&bytes, client);
            for rest in ["", "GET / HTTP/1.1\r\n\r\n", "PROXY UNKNOWN\r\n"] {
                let all = [&bytes, rest.as_bytes()].concat();
                assert_eq!(Opening::of(&all), expected, "{}", bytes.escape_ascii());
            }
            for end in 0..bytes.len() {
                let piece = &bytes[..end];
                assert_eq!(
                    Opening::of(piece),
                    Opening::Partial,
                    "{}",
                    piece.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn what_begins_like_a_header_and_is_none_is_malformed() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(long.len(), TEXT_BYTES_MAX + 1);
        for text in [
            "PROXY / HTTP/1.1\r\nhost: a\r\n\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 80 80\n\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 80 80\r\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 80 65536\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 80\r\n80 \r\n",
            "PROXY TCP4  192.0.2.1 10.0.0.1 80 80\r\n",
            "PROXY TCP4 2001:db8::1 ::1 80 80\r\n",
            "PROXY TCP6 192.0.2.1 10.0.0.1 80 80\r\n",
            "PROXY TCP5 192.0.2.1 10.0.0.1 80 80\r\n",
            "PROXY tcp4 192.0.2.1 10.0.0.1 80 80\r\n",
            &long,
        ] {
            assert_eq!(Opening::of(text.as_bytes()), Opening::Malformed, "{text:?}");
        }
        for bytes in [
            binary(0x11, 0x11, &[0; 12]),
            binary(0x31, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 12]),
            binary(0x21, 0x31, &[0; 215]),
            binary(0x21, 0x41, &[0; 216]),
            binary(0x21, 0x13, &[0; 12]),
            binary(0x21, 0x11, &[0; BINARY_REST_BYTES_MAX + 1]),
            binary(0x20, 0x00, &[0; BINARY_REST_BYTES_MAX + 1]),
        ] {
            assert_eq!(
                Opening::of(&bytes),
                Opening::Malformed,
                "{}",
                bytes.escape_ascii()
            );
        }
        let too_long = binary(0x21, 0x11, &[0; BINARY_REST_BYTES_MAX + 1]);
        let seen = &too_long[..BINARY_FIXED_BYTES];
        assert_eq!(
            Opening::of(seen),
            Opening::Malformed,
            "known before it has come"
        );
    }

    #[test]
    fn what_begins_otherwise_is_something_else() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"PROPFIND / HTTP/1.1\r\n",
            b"PROXYX TCP4 192.0.2.1 10.0.0.1 80 80\r\n",
            b"proxy UNKNOWN\r\n",
            b" PROXY UNKNOWN\r\n",
            b"\r\nGET / HTTP/1.1\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\n",
            b"\x16\x03\x01",
        ] {
            assert_eq!(
                Opening::of(bytes),
                Opening::Other,
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    /// What is known of bytes that come in pieces which end at these places.
    fn in_pieces(bytes: &[u8], ends: &[usize]) -> Opening {
        let mut ends: Vec<_> = ends.iter().map(|end| (*end).min(bytes.len())).collect();
        ends.sort_unstable();
        let pieces = ends.into_iter().map(|end| &bytes[..end]);
        let known = pieces
            .map(Opening::of)
            .find(|known| *known != Opening::Partial);
        known.unwrap_or_else(|| Opening::of(bytes))
    }

    /// Bytes of which many begin as a header does.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let any_bytes = || prop::collection::vec(any::<u8>(), 0..40);
        let text = r"PROXY (TCP[46]|UNKNOWN)( [0-9a-f:.]{0,20}){0,5}\r?\n?";
        let binary = (0x1f..0x23_u8, any::<u8>(), 0..60_u16);
        prop_oneof![
            any_bytes(),
            text.prop_map(String::into_bytes),
            (
                prop::sample::select(good()),
                any_bytes(),
                any::<prop::sample::Index>(),
                any_bytes()
            )
                .prop_map(|((mut bytes, _), changed, at, rest)| {
                    let at = at.index(bytes.len());
                    bytes
                        .iter_mut()
                        .skip(at)
                        .zip(changed)
                        .for_each(|(old, new)| *old = new);
                    [bytes, rest].concat()
                }),
            (binary, any_bytes()).prop_map(|((command, family, length), rest)| {
                let length = length.to_be_bytes();
                [BINARY_SIGNATURE, &[command, family], &length, &rest].concat()
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_bytes_are_does_not_hang_on_how_they_come(
            bytes in bytes(),
            ends in prop::collection::vec(0..200_usize, 0..5),
        ) {
            let known = Opening::of(&bytes);
            prop_assert_eq!(in_pieces(&bytes, &ends), known);
            let singly: Vec<_> = (0..bytes.len()).collect();
            prop_assert_eq!(in_pieces(&bytes, &singly), known);
            if let Opening::Header { length, .. } = known {
                prop_assert!(length <= bytes.len());
                prop_assert_eq!(Opening::of(&bytes[..length]), known);
            }
        }
    }
}
