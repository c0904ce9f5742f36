//! Why a token is not believed.

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is not made like one.
    #[error("the token cannot be read")]
    Malformed,
    /// It has more than [`TOKEN_BYTES_MAX`](super::TOKEN_BYTES_MAX) bytes.
    #[error("the token is too long")]
    TooLong,
    /// It is signed by an algorithm that is not allowed, or by none.
    #[error("the token is not signed by an algorithm that is allowed")]
    Algorithm,
    /// It names a key that is not known.
    #[error("the token is signed by a key that is not known")]
    UnknownKey,
    /// Its signature is not that of the key.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It does not say until when it is good.
    #[error("the token does not say when it expires")]
    NoExpiry,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It will be good.
    #[error("the token is not valid yet")]
    NotYet,
    /// Somebody else has issued it.
    #[error("the token is of another issuer")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It does not say whose it is.
    #[error("the token has no claim that names the caller")]
    NoCaller,
    /// No keys have been had yet to tell by.
    #[error("the keys of tokens are not known yet")]
    NoKeys,
}

impl TokenFault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::TooLong,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::NoExpiry,
        Self::Expired,
        Self::NotYet,
        Self::Issuer,
        Self::Audience,
        Self::NoCaller,
        Self::NoKeys,
    ];

    /// The name it is exported under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYet => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NoCaller => "no_caller",
            Self::NoKeys => "no_keys",
        }
    }
}
