//! A text that must not be seen: a token, the address of a webhook, the value of a header.
//!
//! It has no way out by accident. What is formatted, logged or kept in a structure that is printed
//! shows [`HIDDEN`]; it cannot be serialized; whoever needs the text has to [`Secret::reveal`] it.

use std::fmt;

/// What is shown in the place of a secret.
pub const HIDDEN: &str = "***";

/// A text that must not be seen.
///
/// Two secrets can be compared to tell whether a configuration has changed. That takes longer the
/// more they agree, so it is not for checking what a stranger presents.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_seen_by_accident() {
        let secret = Secret::new("hunter2");
        let kept = Some((1, secret.clone()));
        assert_eq!(
            format!("{secret} {secret:?} {kept:?}"),
            "*** *** Some((1, ***))"
        );
        assert_eq!(secret.reveal(), "hunter2");
    }
}
