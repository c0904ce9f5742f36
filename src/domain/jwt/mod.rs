//! JSON Web Tokens (RFC 7519): signed claims about whoever sends a request.
//!
//! A token is believed when a key of the source's own has signed it by an algorithm that the source
//! allows, and when its claims hold now. What the token says of itself chooses among those keys and
//! algorithms, and nothing else: a source has either a shared secret or public keys, never both, so that a
//! public key can never be taken for a secret, and "none" is no algorithm.

mod claims;
mod fault;
mod keys;
mod source;
#[cfg(test)]
#[path = "../../../tests/support/tokens.rs"]
pub(crate) mod testing;
mod token;

pub use claims::Claims;
pub use fault::TokenFault;
pub use jsonwebtoken::{Algorithm, AlgorithmFamily};
pub use keys::{KEY_SET_BYTES_MAX, KEYS_MAX, KeySet, KeySetFault};
pub use source::{JwtSource, KeySource, RemoteKeys, TokenPlace};
pub use token::{TOKEN_BYTES_MAX, TokenPolicy, Verified};
