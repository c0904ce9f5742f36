//! Single values of apps and certificates, as they are written as text.

use std::time::UNIX_EPOCH;

use crate::domain::identity::CertificateName;
use crate::domain::key_digest::KeyDigest;

use crate::config::schema::Shape;
use crate::config::written::FromText;

/// A moment, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date(pub(super) u64);

impl FromText for Date {
    const EXPECTED: &'static str = "a moment such as `2027-01-31T00:00:00Z`";
    const SHAPE: Shape = Shape::of(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z",
        &["2027-01-31T00:00:00Z"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        let date = humantime::parse_rfc3339(text).ok();
        let since = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        let since = since.and_then(|since| u64::try_from(since.as_millis()).ok());
        since
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

impl FromText for KeyDigest {
    const EXPECTED: &'static str = "a SHA-256 of 64 hexadecimal digits";
    const INSTEAD_OF_NUMBER: &'static str = <String as FromText>::INSTEAD_OF_NUMBER;
    const SHAPE: Shape = Shape::of("[0-9A-Fa-f]{64}", &[]);

    fn from_text(text: &str) -> Result<Self, String> {
        // It may be the key itself, so it is not quoted.
        text.parse().map_err(|error| format!("{error}"))
    }
}

impl FromText for CertificateName {
    const EXPECTED: &'static str = "a kind of name: `san_uri`, `san_dns` or `subject_cn`";
    const SHAPE: Shape = Shape::of("san_uri|san_dns|subject_cn", &["san_uri"]);

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "san_uri" => Ok(Self::SanUri),
            "san_dns" => Ok(Self::SanDns),
            "subject_cn" => Ok(Self::SubjectCn),
            _ => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}
