//! How one piece of text is compared with what the configuration asks for.

/// A condition on a header's or cookie's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPattern {
    /// The very same bytes.
    Exact(Box<str>),
    /// Starts with these bytes.
    Prefix(Box<str>),
    /// Any value will do.
    Present,
}

impl TextPattern {
    /// Whether a value fits.
    pub fn fits(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Present => true,
        }
    }
}
