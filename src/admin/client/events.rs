//! Reads a stream of events (the HTML standard, section 9.2, as far as Serin writes it).

use http::{Method, header};
use http_body_util::BodyExt;

use super::{AdminClient, ClientError, target};

/// The longest event that is read, in bytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamEvent {
    /// What kind it is; `message` where nothing is said.
    pub name: String,
    /// What it says.
    pub data: String,
}

/// Puts events together from bytes as they come.
#[derive(Debug, Default)]
struct Gatherer {
    bytes: Vec<u8>,
    event: StreamEvent,
    has_data: bool,
}

impl Gatherer {
    /// Takes bytes in and gives each event that they complete; `false` once nobody wants more.
    fn take(&mut self, bytes: &[u8], wants: &mut impl FnMut(&StreamEvent) -> bool) -> bool {
        self.bytes.extend_from_slice(bytes);
        let mut start = 0;
        let mut is_wanted = true;
        while is_wanted && let Some(end) = memchr::memchr(b'\n', &self.bytes[start..]) {
            let line = String::from_utf8_lossy(&self.bytes[start..start + end]).into_owned();
            start += end + 1;
            is_wanted = self.line(line.strip_suffix('\r').unwrap_or(&line), wants);
        }
        self.bytes.drain(..start);
        is_wanted
    }

    fn line(&mut self, line: &str, wants: &mut impl FnMut(&StreamEvent) -> bool) -> bool {
        if line.is_empty() {
            let mut event = std::mem::take(&mut self.event);
            if event.name.is_empty() {
                event.name.push_str("message");
            }
            return !std::mem::take(&mut self.has_data) || wants(&event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            // A comment, an identifier, or a time that we have no use for.
            _ => {}
        }
        true
    }

    fn is_too_long(&self) -> bool {
        self.bytes.len() + self.event.data.len() > EVENT_BYTES_MAX
    }
}

impl AdminClient {
    /// Reads a stream of events until it ends or nobody wants more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stream(
        &self,
        path: &str,
        query: &[(&str, &str)],
        mut wants: impl FnMut(&StreamEvent) -> bool,
    ) -> Result<(), ClientError> {
        let mut request = self.request(Method::GET, &target(path, query), None)?;
        let accepted = header::HeaderValue::from_static("text/event-stream");
        request.headers_mut().insert(header::ACCEPT, accepted);
        let mut answer = self.open(request).await?;
        let mut gatherer = Gatherer::default();
        while let Some(frame) = answer.body.frame().await {
            let frame = frame.map_err(|source| self.broken(source))?;
            let Some(bytes) = frame.data_ref() else {
                continue;
            };
            if !gatherer.take(bytes, &mut wants) {
                break;
            }
            if gatherer.is_too_long() {
                return Err(self.odd("an event has no end".to_owned()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_their_bytes_come() {
        let text = "retry: 2000\n\n:\n\nid: 7\nevent: request\ndata: {\"a\": 1}\n\ndata: one\r\n\
                    data:two\r\n\r\nevent: empty\n\nevent: lagged\ndata: {}\n\n";
        let expected = [
            ("request", "{\"a\": 1}"),
            ("message", "one\ntwo"),
            ("lagged", "{}"),
        ];
        for size in 1..text.len() {
            let (mut gatherer, mut seen) = (Gatherer::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                assert!(gatherer.take(piece, &mut |event| {
                    seen.push((event.name.clone(), event.data.clone()));
                    true
                }));
            }
            let seen: Vec<_> = seen.iter().map(|(name, data)| (&**name, &**data)).collect();
            assert_eq!(seen, expected, "pieces of {size}");
        }
    }

    #[test]
    fn who_has_seen_enough_gets_no_more() {
        let mut count = 0;
        let mut gatherer = Gatherer::default();
        let is_wanted = gatherer.take(b"data: 1\n\ndata: 2\n\n", &mut |_| {
            count += 1;
            false
        });
        assert!(!is_wanted);
        assert_eq!(count, 1);
        assert!(!gatherer.is_too_long());
        gatherer.take(&vec![b'x'; EVENT_BYTES_MAX + 1], &mut |_| true);
        assert!(gatherer.is_too_long());
    }
}
