//! Verifies one token.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use super::claims::Claims;
use super::fault::TokenFault;
use super::keys::KeySet;
use crate::domain::caller::CALLER_KEY_BYTES_MAX;

/// The longest token that is looked at, in bytes: as long as a cookie or a field that most servers take.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What a token has to be to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    /// How it may be signed: at least one, either all with a secret or none.
    pub algorithms: Box<[Algorithm]>,
    /// Who may have issued it; empty for anyone who has the key.
    pub issuers: Box<[Box<str>]>,
    /// Whom it may be for; empty for anyone.
    pub audiences: Box<[Box<str>]>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// The claim that is the caller's key.
    pub claim: Box<str>,
}

/// A token that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub claims: Claims,
    /// The caller's key.
    pub key: Box<str>,
    /// The end of its time, in seconds since 1970, leeway included: it is no longer good then.
    pub until: u64,
}

/// What a token says of its signature.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

impl TokenPolicy {
    /// Verifies a token by keys, at a time in seconds since 1970.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(&self, token: &str, keys: &KeySet, now: u64) -> Result<Verified, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (head, body) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        if body.contains('.') {
            return Err(TokenFault::Malformed);
        }
        let head: Head = decoded(head)?;
        if head.crit.is_some() {
            return Err(TokenFault::Malformed);
        }
        let algorithm: Algorithm = head.alg.parse().map_err(|_| TokenFault::Algorithm)?;
        if !self.algorithms.contains(&algorithm) {
            return Err(TokenFault::Algorithm);
        }
        let mut fault = TokenFault::UnknownKey;
        let is_signed = keys.candidates(algorithm, head.kid.as_deref()).any(|key| {
            fault = TokenFault::Signature;
            let verified =
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm);
            verified.unwrap_or(false)
        });
        if !is_signed {
            return Err(fault);
        }
        self.check(Claims::new(decoded(body)?), now)
    }

    /// Whether claims hold at a time.
    fn check(&self, claims: Claims, now: u64) -> Result<Verified, TokenFault> {
        let (leeway, now_float) = (self.leeway.as_secs_f64(), seconds(now));
        let expiry = match claims.get("exp") {
            None => return Err(TokenFault::NoExpiry),
            Some(value) => value.as_f64().ok_or(TokenFault::Malformed)?,
        };
        if now_float >= expiry + leeway {
            return Err(TokenFault::Expired);
        }
        if let Some(value) = claims.get("nbf") {
            let start = value.as_f64().ok_or(TokenFault::Malformed)?;
            if now_float + leeway < start {
                return Err(TokenFault::NotYet);
            }
        }
        if !is_one_of(&claims, "iss", &self.issuers) {
            return Err(TokenFault::Issuer);
        }
        if !is_one_of(&claims, "aud", &self.audiences) {
            return Err(TokenFault::Audience);
        }
        let key = match claims.get(&self.claim) {
            Some(Value::String(text)) => text.as_str().into(),
            Some(Value::Number(number)) => number.to_string().into_boxed_str(),
            _ => return Err(TokenFault::NoCaller),
        };
        let is_key =
            !key.is_empty() && key.len() <= CALLER_KEY_BYTES_MAX && !key.contains(char::is_control);
        if !is_key {
            return Err(TokenFault::NoCaller);
        }
        let until = whole_seconds(expiry + leeway);
        Ok(Verified { claims, key, until })
    }
}

/// A part of a token.
fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenFault> {
    let bytes = URL_SAFE_NO_PAD.decode(part);
    let bytes = bytes.map_err(|_| TokenFault::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenFault::Malformed)
}

/// Whether a claim names one of those that are wanted, alone or in a list; any will do where none is.
fn is_one_of(claims: &Claims, name: &str, wanted: &[Box<str>]) -> bool {
    let is_wanted = |value: &Value| {
        let text = value.as_str();
        text.is_some_and(|text| wanted.iter().any(|one| **one == *text))
    };
    wanted.is_empty()
        || match claims.get(name) {
            Some(Value::Array(items)) => items.iter().any(is_wanted),
            Some(value) => is_wanted(value),
            None => false,
        }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "exact for the next hundred million years"
)]
const fn seconds(since_1970: u64) -> f64 {
    since_1970 as f64
}

/// The first whole second that is not before a time.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what does not fit is as far as can be, which is meant"
)]
const fn whole_seconds(time: f64) -> u64 {
    time.ceil() as u64
}

#[cfg(test)]
mod tests;
