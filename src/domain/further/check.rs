//! A custom check as it is configured: what is asked, how often, and what is tolerated.

use std::fmt;
use std::time::Duration;

use http::Uri;

use crate::domain::further::template::{Escape, Template};
use crate::domain::further::words::Plain;
use crate::domain::ids::CustomCheckName;
use crate::domain::variant::{PerVariant, Variant};

pub use crate::domain::further::template::Filling;

/// A number of another system, held to limits.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomCheck {
    /// Its name; that of no other check.
    pub name: CustomCheckName,
    /// What is asked of canary.
    pub source: Source,
    /// What canary's value may be, whatever stable's is.
    pub limits: Limits,
    /// What it may be beside stable's.
    pub comparison: Option<Comparison>,
    /// How often it is asked.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How old a sample may be.
    pub max_age: Duration,
}

/// What canary's value may be beside that of stable.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What is asked of stable.
    pub stable: Source,
    /// Canary's value over stable's.
    pub ratio: Limits,
}

/// The least and the most that is tolerated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// The least.
    pub min: Option<f64>,
    /// The most.
    pub max: Option<f64>,
}

impl Limits {
    /// The limit that a value is beyond.
    pub(super) fn broken_by(&self, value: f64) -> Option<f64> {
        let min = self.min.filter(|min| value < *min);
        min.or_else(|| self.max.filter(|max| value > *max))
    }

    /// The same limits of something so many times larger.
    pub(super) fn times(&self, factor: f64) -> Self {
        let times = |limit: Option<f64>| limit.map(|limit| limit * factor);
        Self {
            min: times(self.min),
            max: times(self.max),
        }
    }

    /// One of them.
    pub(super) fn either(&self) -> Option<f64> {
        self.min.or(self.max)
    }
}

/// What is tolerated, to go after a value: `at least 0.95 and at most 2`.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min.map(Plain), self.max.map(Plain)) {
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (None, None) => f.write_str("anything"),
        }
    }
}

/// Whom to ask for what, with places for what is known later.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// An instant query to a Prometheus.
    PromQl {
        /// Where it is.
        server: SourceUrl,
        /// The query.
        query: Template,
    },
    /// A number in a JSON document.
    HttpJson {
        /// Where it is: a URL, once everything is filled in.
        url: Template,
        /// Where the number is in it, as a JSON pointer (RFC 6901).
        pointer: String,
    },
}

impl Source {
    /// The question about an arm; `None` where what is filled in makes no URL.
    fn question(&self, filling: &Filling<'_>, timeout: Duration) -> Option<Question> {
        let subject = match self {
            Self::PromQl { server, query } => Subject::PromQl {
                server: server.clone(),
                query: query.fill(filling, Escape::PromQl),
            },
            Self::HttpJson { url, pointer } => Subject::HttpJson {
                url: url.fill(filling, Escape::Url).parse().ok()?,
                pointer: pointer.clone(),
            },
        };
        Some(Question { subject, timeout })
    }
}

impl CustomCheck {
    /// What is to be asked about both arms; of stable only where it is compared with.
    pub fn questions(&self, filling: &Filling<'_>) -> PerVariant<Option<Question>> {
        PerVariant::from_fn(|variant| {
            let source = match variant {
                Variant::Canary => &self.source,
                Variant::Stable => &self.comparison.as_ref()?.stable,
            };
            source.question(
                &Filling {
                    variant,
                    ..*filling
                },
                self.timeout,
            )
        })
    }
}

/// A question with everything filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Whom to ask for what.
    pub subject: Subject,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// Whom to ask for what.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// An instant query to a Prometheus.
    PromQl {
        /// Where it is.
        server: SourceUrl,
        /// The query.
        query: String,
    },
    /// A number in a JSON document.
    HttpJson {
        /// Where it is.
        url: Uri,
        /// Where the number is in it.
        pointer: String,
    },
}

/// Where a Prometheus is: a URL of `http`, perhaps with a path, and nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUrl(String);

/// Why a URL is none of a Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Prometheus is at an absolute URL of http, without user, query and fragment")]
pub struct InvalidSourceUrl;

impl SourceUrl {
    /// The URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for SourceUrl {
    type Error = InvalidSourceUrl;

    fn try_from(text: &str) -> Result<Self, InvalidSourceUrl> {
        let url: Uri = text.parse().map_err(|_| InvalidSourceUrl)?;
        let has_host = url.authority().is_some_and(|authority| {
            !authority.host().is_empty() && !authority.as_str().contains('@')
        });
        let is_plain = url.query().is_none() && !text.contains('#');
        if url.scheme_str() == Some("http") && has_host && is_plain {
            Ok(Self(text.trim_end_matches('/').to_owned()))
        } else {
            Err(InvalidSourceUrl)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prometheus_is_at_a_plain_url() {
        for (text, base) in [
            ("http://prometheus:9090", "http://prometheus:9090"),
            ("http://[::1]:9090/", "http://[::1]:9090"),
            ("http://a/prom/", "http://a/prom"),
        ] {
            assert_eq!(SourceUrl::try_from(text).unwrap().as_str(), base);
        }
        for bad in [
            "a:9090",
            "/x",
            "https://a",
            "http://u:p@a",
            "http://a?x",
            "http://a#x",
            "",
        ] {
            assert_eq!(SourceUrl::try_from(bad), Err(InvalidSourceUrl), "{bad}");
        }
    }

    #[test]
    fn limits_are_broken_on_either_side_and_told_in_words() {
        let both = Limits {
            min: Some(0.5),
            max: Some(2.0),
        };
        assert_eq!(both.broken_by(0.4), Some(0.5));
        assert_eq!(both.broken_by(2.1), Some(2.0));
        assert_eq!((both.broken_by(0.5), both.broken_by(2.0)), (None, None));
        assert_eq!(both.to_string(), "0.5 to 2");
        assert_eq!(both.times(1000.0).to_string(), "500 to 2,000");
        let min = Limits { max: None, ..both };
        assert_eq!(min.to_string(), "at least 0.5");
    }

    #[test]
    fn stable_is_asked_about_only_where_it_is_compared_with() {
        let url = |text: &str| Source::HttpJson {
            url: Template::read(text).unwrap(),
            pointer: "/score".to_owned(),
        };
        let alone = CustomCheck {
            name: "score".parse().unwrap(),
            source: url("http://a/{variant}/{flag}"),
            limits: Limits::default(),
            comparison: None,
            every: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            max_age: Duration::from_secs(60),
        };
        let filling = Filling {
            flag: "f",
            revision: "2",
            stage: 1,
            variant: Variant::Canary,
        };
        let asked = alone.questions(&filling);
        assert!(asked.stable.is_none());
        let url_of = |question: Option<Question>| match question.unwrap().subject {
            Subject::HttpJson { url, .. } => url.to_string(),
            Subject::PromQl { query, .. } => query,
        };
        assert_eq!(url_of(asked.canary), "http://a/canary/f");
        let compared = CustomCheck {
            comparison: Some(Comparison {
                stable: alone.source.clone(),
                ratio: Limits::default(),
            }),
            ..alone
        };
        assert_eq!(
            url_of(compared.questions(&filling).stable),
            "http://a/stable/f"
        );
    }
}
