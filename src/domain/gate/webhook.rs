//! A webhook that is asked whether something may go on, as it is configured.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;

use crate::domain::notify::WebhookUrl;

/// Whom to ask, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where it is.
    pub url: WebhookUrl,
    /// Sent with each question; values are marked as sensitive.
    pub headers: HeaderMap,
    /// How long an answer may take as a whole.
    pub timeout: Duration,
    /// How often it is asked in a row where none comes, or a server's error; at least 1.
    pub attempts: u32,
    /// How long after an answer other than 2xx it is asked again.
    pub every: Duration,
    /// Passed on in the body, for whoever is asked.
    pub metadata: BTreeMap<String, String>,
}

/// What stands in the place of a secret.
const HIDDEN: &str = "…";

/// Parts of a URL that are shorter than this are words, and no secrets.
const SECRET_CHARS_MIN: usize = 6;

impl Webhook {
    /// A text in which nothing of the URL but its host is left, and nothing of the headers' values. Servers like
    /// to say which path they do not have, and some which token they do not know.
    pub fn without_secrets(&self, text: &str) -> String {
        let url = self.url.secret();
        let whole = url.path_and_query().map(|it| it.as_str());
        let query = url.query().unwrap_or_default();
        let mut parts: Vec<&str> = whole.into_iter().chain([url.path(), query]).collect();
        parts.extend(url.path().split('/'));
        parts.extend(query.split(['&', '=']));
        for value in self.headers.values() {
            let value = value.to_str().unwrap_or_default();
            // `Bearer` and the like come before a space.
            parts.push(value);
            parts.extend(value.split(' ').skip(1));
        }
        parts.retain(|part| part.len() >= SECRET_CHARS_MIN);
        // The longest first, so that no part of one is left.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        let hide = |text: String, part: &&str| text.replace(part, HIDDEN);
        parts.iter().fold(text.to_owned(), hide)
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;
    use http::{HeaderValue, Uri};

    use super::*;

    #[test]
    fn an_answer_that_repeats_the_url_shows_nothing_of_it() {
        let url = "http://ci/gate/s3cr3t-t0k3n?key=abcdef123&x=1";
        let hook = Webhook {
            url: url.parse::<Uri>().unwrap().try_into().unwrap(),
            headers: [(AUTHORIZATION, HeaderValue::from_static("Bearer 0penSesame"))]
                .into_iter()
                .collect(),
            timeout: Duration::from_secs(1),
            attempts: 1,
            every: Duration::from_secs(1),
            metadata: BTreeMap::new(),
        };
        for (said, shown) in [
            (
                "Cannot POST /gate/s3cr3t-t0k3n?key=abcdef123&x=1",
                "Cannot POST …",
            ),
            ("no /gate/s3cr3t-t0k3n here", "no … here"),
            ("unknown token s3cr3t-t0k3n", "unknown token …"),
            ("key abcdef123 has expired", "key … has expired"),
            ("unknown: Bearer 0penSesame", "unknown: …"),
            ("no token 0penSesame", "no token …"),
            ("a Bearer is needed", "a Bearer is needed"),
            ("the gate is closed", "the gate is closed"),
        ] {
            assert_eq!(hook.without_secrets(said), shown);
        }
    }
}
