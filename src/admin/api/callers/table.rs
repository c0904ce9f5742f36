//! Callers as comma-separated values (RFC 4180), made part by part as they are read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::domain::caller_features::CallerFeatures;
use crate::domain::segment::caller_table::PSEUDONYMS;
use crate::domain::segment::csv::quoted;
use crate::domain::timestamp::Timestamp;
use crate::runtime::caller_book::CallerBook;
use crate::runtime::pseudonyms::Pseudonyms;

/// Parts that wait for a client to take them: it is ahead of a slow one by no more than that.
const PARTS_WAITING: usize = 2;

/// What callers are called; the first column says which it is.
pub(super) enum Named {
    /// By their keys.
    Key,
    /// By their pseudonyms.
    Pseudonym(Arc<Pseudonyms>),
}

impl Named {
    /// The name of the first column.
    const fn column(&self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Pseudonym(_) => PSEUDONYMS,
        }
    }
}

/// All callers of a book with what is known of them.
pub(super) fn rows(book: Arc<CallerBook>, now: Timestamp, named: Named) -> Response {
    let (sender, parts) = mpsc::channel(PARTS_WAITING);
    // On a thread of its own, for it takes long, and waits for whoever reads.
    spawn_blocking(move || {
        let header = format!("{},{}\n", named.column(), CallerFeatures::NAMES.join(","));
        let mut is_read = sender.blocking_send(Bytes::from(header)).is_ok();
        for part in 0..book.parts() {
            let text = part_as_text(&book.read_part(part, now), &named);
            if is_read && !text.is_empty() {
                is_read = sender.blocking_send(Bytes::from(text)).is_ok();
            }
        }
    });
    let fields = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (fields, Body::new(Parts(parts))).into_response()
}

fn part_as_text(callers: &[(Box<str>, CallerFeatures)], named: &Named) -> String {
    let mut text = String::new();
    for (key, features) in callers {
        match named {
            Named::Key => text.push_str(&quoted(key)),
            Named::Pseudonym(pseudonyms) => text.push_str(&pseudonyms.of(key)),
        }
        for value in features.values() {
            text.push_str(&format!(",{}", rounded(value)));
        }
        text.push('\n');
    }
    text
}

/// A number to a millionth: what is counted is not finer than that.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The body of an answer that is made meanwhile.
struct Parts(mpsc::Receiver<Bytes>);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.get_mut().0.poll_recv(context);
        next.map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_name_and_numbers_and_odd_keys_are_in_quotation_marks() {
        let features = CallerFeatures {
            requests: 12.0,
            requests_per_second: 0.123_456_789,
            error_share: 0.25,
            latency_mean_ms: 1e-9,
            latency_p99_ms: 4.1,
            request_bytes_mean: 0.0,
            response_bytes_mean: 700.5,
            write_share: 1.0,
            distinct_paths: 3.0,
        };
        let callers = ["ann", "a,b", "say \"hi\""].map(|key| (key.into(), features));
        let numbers = "12,0.123457,0.25,0,4.1,0,700.5,1,3";
        assert_eq!(
            part_as_text(&callers, &Named::Key),
            format!("ann,{numbers}\n\"a,b\",{numbers}\n\"say \"\"hi\"\"\",{numbers}\n")
        );
        let secret = Pseudonyms::draw_secret().unwrap();
        let named = Named::Pseudonym(Arc::new(Pseudonyms::new(&secret)));
        let text = part_as_text(&callers, &named);
        assert!(!text.contains("ann") && text.lines().count() == 3, "{text}");
        assert_eq!(named.column(), "pseudonym");
    }
}
