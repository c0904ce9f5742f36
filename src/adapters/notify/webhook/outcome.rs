//! What an attempt to deliver came to, and how long to wait for the next one.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use crate::adapters::http_client::{Answer, HttpError};

/// The first wait: most failures are a restart, and over in a moment.
pub(super) const BACK_OFF_MIN: Duration = Duration::from_secs(1);

/// The longest wait of our own: after an hour's outage nobody waits for long, and a day of waiting
/// is three hundred attempts.
pub(super) const BACK_OFF_MAX: Duration = Duration::from_secs(5 * 60);

/// The longest wait that a target may ask for.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The target took the message.
    Delivered,
    /// The target will not take it, however often it is sent.
    Refused {
        /// Its status.
        status: StatusCode,
    },
    /// It may work another time.
    Failed {
        /// What happened.
        reason: String,
        /// How long the target asks to wait; zero where it does not.
        retry_after: Duration,
    },
}

impl Outcome {
    /// Judges an exchange. An answer's status decides, whatever became of its body. `wall` is the
    /// time since 1970, for targets that name a moment.
    pub(super) fn of(exchange: Result<Answer, HttpError>, wall: Duration) -> Self {
        let Answer {
            status, headers, ..
        } = match exchange {
            Ok(answer) => answer,
            Err(error) => {
                return Self::Failed {
                    reason: error.to_string(),
                    retry_after: Duration::ZERO,
                };
            }
        };
        let is_temporary = matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        );
        if status.is_success() {
            Self::Delivered
        } else if status.is_client_error() && !is_temporary {
            Self::Refused { status }
        } else {
            let reason = if status.is_redirection() {
                format!("answered {status}, and redirects are not followed")
            } else {
                format!("answered {status}")
            };
            Self::Failed {
                reason,
                retry_after: retry_after(&headers, wall).min(RETRY_AFTER_MAX),
            }
        }
    }
}

/// The wait that `Retry-After` asks for, in seconds or as a date (RFC 9110, section 10.2.3); zero
/// without one.
fn retry_after(headers: &HeaderMap, wall: Duration) -> Duration {
    let text = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .trim();
    if let Ok(seconds) = text.parse() {
        return Duration::from_secs(seconds);
    }
    let date = httpdate::parse_http_date(text).ok();
    let since_1970 = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    since_1970.map_or(Duration::ZERO, |then| then.saturating_sub(wall))
}

/// The wait after so many failures in a row: one second, doubled with each, up to five minutes; of
/// that somewhere between half and the whole, so that many proxies do not come back as one.
///
/// `draw` is a random number from 0 to 1.
pub(super) fn back_off(failures: u32, draw: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let whole = BACK_OFF_MIN.saturating_mul(doubled).min(BACK_OFF_MAX);
    whole.mul_f64(0.5 + 0.5 * draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// The 24th of November 2025, 16:00:00 UTC.
    const WALL: Duration = Duration::from_secs(1_764_000_000);

    fn answered(status: u16, retry_after: &str) -> Outcome {
        let mut headers = HeaderMap::new();
        if !retry_after.is_empty() {
            headers.insert(header::RETRY_AFTER, retry_after.parse().unwrap());
        }
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::new(),
            cut: None,
        };
        Outcome::of(Ok(answer), WALL)
    }

    #[test]
    fn a_status_tells_whether_another_attempt_is_of_use() {
        for status in [200, 202, 204] {
            assert_eq!(answered(status, ""), Outcome::Delivered, "{status}");
        }
        for status in [400, 401, 403, 404, 410, 413, 422] {
            let outcome = answered(status, "60");
            assert!(matches!(outcome, Outcome::Refused { .. }), "{status}");
        }
        for status in [301, 307, 408, 429, 500, 502, 503, 504] {
            let outcome = answered(status, "");
            assert!(matches!(outcome, Outcome::Failed { .. }), "{status}");
        }
    }

    #[test]
    fn a_cut_answer_counts_by_its_status() {
        let host = "chat:80".to_owned();
        let answer = Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            cut: Some(HttpError::TooLarge { host, bytes_max: 1 }),
        };
        assert_eq!(Outcome::of(Ok(answer), WALL), Outcome::Delivered);
    }

    #[test]
    fn a_target_may_ask_for_up_to_an_hour() {
        for (text, seconds) in [
            ("", 0),
            ("0", 0),
            ("120", 120),
            (" 120 ", 120),
            ("86400", 3_600),
            ("99999999999999999999", 0),
            ("-5", 0),
            ("soon", 0),
            ("Mon, 24 Nov 2025 16:02:00 GMT", 120),
            ("Mon, 24 Nov 2025 15:00:00 GMT", 0),
            ("Tue, 24 Nov 2026 16:00:00 GMT", 3_600),
        ] {
            let Outcome::Failed { retry_after, .. } = answered(503, text) else {
                panic!("{text}");
            };
            assert_eq!(retry_after, Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn waits_double_up_to_five_minutes_and_never_fall_together() {
        let seconds: Vec<_> = (0..12).map(|n| back_off(n, 1.0).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(back_off(u32::MAX, 1.0), BACK_OFF_MAX);
        assert_eq!(back_off(4, 0.0), Duration::from_secs(4));
        assert_eq!(back_off(4, 0.5), Duration::from_secs(6));
    }
}
