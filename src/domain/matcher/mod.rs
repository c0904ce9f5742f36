//! One question about a request, answered yes or no.
//!
//! Each kind of matcher is one file and one line of the table below; the table makes the closed
//! enum, so a `match` stays exhaustive and matching a request needs no boxes and no dispatch.

pub mod address;
pub mod app;
pub mod callers;
pub mod certificate;
pub mod claim;
pub mod cookie;
pub mod header;
pub mod method;
pub mod path;
pub mod percentage;
pub mod query;
pub mod segment;
pub mod text;

use crate::domain::caller::RequestFacts;

/// Answers one question about a request.
pub trait Matches {
    /// Whether the request fits.
    fn matches(&self, facts: &RequestFacts<'_>) -> bool;
}

macro_rules! matchers {
    ($($kind:ident => $matcher:path,)*) => {
        /// One matcher of any kind.
        #[derive(Clone, Debug)]
        pub enum Matcher {
            $(
                #[doc = concat!("See [`", stringify!($matcher), "`].")]
                $kind($matcher),
            )*
        }

        impl Matches for Matcher {
            fn matches(&self, facts: &RequestFacts<'_>) -> bool {
                match self {
                    $(Self::$kind(matcher) => matcher.matches(facts),)*
                }
            }
        }
    };
}

matchers! {
    Header => header::HeaderMatcher,
    Cookie => cookie::CookieMatcher,
    Address => address::AddressMatcher,
    Callers => callers::CallersMatcher,
    Claim => claim::ClaimMatcher,
    Percentage => percentage::PercentageMatcher,
    App => app::AppMatcher,
    Certificate => certificate::CertificateMatcher,
    Method => method::MethodMatcher,
    Path => path::PathMatcher,
    Query => query::QueryMatcher,
    Segment => segment::SegmentMatcher,
}
