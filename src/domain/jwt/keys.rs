//! The keys that tokens are verified by.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The largest set of keys, in bytes: issuers have a handful, of less than a kilobyte each.
pub const KEY_SET_BYTES_MAX: usize = 64 * 1024;

/// The most keys of a set: a token that names none is tried with each.
pub const KEYS_MAX: usize = 32;

/// Base64 digits of the smallest modulus that is used, of 2048 bits (RFC 7518, section 3.3).
const RSA_MODULUS_DIGITS_MIN: usize = 342;

/// One key.
#[derive(Clone)]
struct VerificationKey {
    id: Option<Box<str>>,
    /// What it may verify: at least one, all of its own family.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// The keys of one issuer: at least one.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
}

/// Why there are no keys in something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// It is no JSON with a list of keys in it.
    #[error("is not a JSON Web Key Set: a map with a list `keys`")]
    NotASet,
    /// None of the keys can be used.
    #[error("has no key for {0}")]
    NoneFits(String),
    /// There are too many.
    #[error("has more than {KEYS_MAX} keys")]
    TooMany,
    /// It has too many bytes.
    #[error("is longer than {KEY_SET_BYTES_MAX} bytes")]
    TooLong,
    /// It is no PEM with a public key.
    #[error("is not a public key in PEM")]
    NotAKey,
    /// It is half a pair, the wrong one.
    #[error("is a private key, of which only the public one is needed")]
    Private,
    /// The secret can be guessed.
    #[error("is shorter than {0} bytes, what the algorithm needs at least")]
    Short(usize),
}

/// The set as it is written; keys are looked at one by one, so that one of an unknown kind spoils no others
/// (RFC 7517, section 5).
#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517), and takes of it what verifies by the algorithms allowed.
    ///
    /// # Errors
    /// When it is none, too large, or has no key that can be used.
    pub fn from_jwks(text: &[u8], allowed: &[Algorithm]) -> Result<Self, KeySetFault> {
        if text.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetFault::TooLong);
        }
        let written: Written = serde_json::from_slice(text).map_err(|_| KeySetFault::NotASet)?;
        let keys = written.keys.into_iter();
        let keys: Vec<_> = keys.filter_map(|key| of_jwk(key, allowed)).collect();
        Self::of(keys, allowed)
    }

    /// Reads a public key in PEM.
    ///
    /// # Errors
    /// When it is none, or of another kind than the algorithms allowed.
    pub fn from_pem(text: &str, allowed: &[Algorithm]) -> Result<Self, KeySetFault> {
        if text.contains("PRIVATE KEY-----") {
            return Err(KeySetFault::Private);
        }
        let text = text.as_bytes();
        let read = DecodingKey::from_rsa_pem(text)
            .or_else(|_| DecodingKey::from_ec_pem(text))
            .or_else(|_| DecodingKey::from_ed_pem(text));
        let key = read.map_err(|_| KeySetFault::NotAKey)?;
        let curve = match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(97) => EllipticCurve::P384,
            _ => EllipticCurve::P256,
        };
        let own = own_algorithms(key.family(), &curve);
        let keys = VerificationKey::new(None, own, key, allowed);
        Self::of(keys.into_iter().collect(), allowed)
    }

    /// Takes a secret that is shared with whoever issues tokens.
    ///
    /// # Errors
    /// When it is shorter than the hash (RFC 7518, section 3.2), or no such algorithm is allowed.
    pub fn from_secret(secret: &[u8], allowed: &[Algorithm]) -> Result<Self, KeySetFault> {
        let least = allowed.iter().map(|algorithm| hash_bytes(*algorithm)).max();
        if let Some(least) = least.filter(|least| secret.len() < *least) {
            return Err(KeySetFault::Short(least));
        }
        let own = own_algorithms(AlgorithmFamily::Hmac, &EllipticCurve::P256);
        let key = DecodingKey::from_secret(secret);
        let keys = VerificationKey::new(None, own, key, allowed);
        Self::of(keys.into_iter().collect(), allowed)
    }

    fn of(keys: Vec<VerificationKey>, allowed: &[Algorithm]) -> Result<Self, KeySetFault> {
        // The library wants to be told by whose cryptography it works; to be told twice changes nothing.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        match keys.len() {
            0 => {
                let names = allowed.iter().map(|algorithm| format!("{algorithm:?}"));
                let names = names.collect::<Vec<_>>().join(", ");
                Err(KeySetFault::NoneFits(names))
            }
            1..=KEYS_MAX => Ok(Self { keys }),
            _ => Err(KeySetFault::TooMany),
        }
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The keys that may have signed a token: those of its id, and those that have none. A token that
    /// names no key may be of any.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = &DecodingKey> {
        let is_candidate = move |key: &&VerificationKey| {
            let is_named = match (&key.id, id) {
                (Some(own), Some(id)) => **own == *id,
                _ => true,
            };
            is_named && key.algorithms.contains(&algorithm)
        };
        self.keys.iter().filter(is_candidate).map(|key| &key.key)
    }
}

/// Public keys may be shown and secrets may not, so nothing is.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({})", self.keys.len())
    }
}

impl VerificationKey {
    /// A key, for those of its own algorithms that are allowed; none where there is none.
    fn new(
        id: Option<Box<str>>,
        own: &[Algorithm],
        key: DecodingKey,
        allowed: &[Algorithm],
    ) -> Option<Self> {
        let algorithms = allowed.iter().filter(|algorithm| own.contains(algorithm));
        let algorithms: Vec<_> = algorithms.copied().collect();
        (!algorithms.is_empty()).then_some(Self {
            id,
            algorithms,
            key,
        })
    }
}

/// A key of a set, if it is for signatures, of a known kind and strong enough.
fn of_jwk(written: Value, allowed: &[Algorithm]) -> Option<VerificationKey> {
    let jwk: Jwk = serde_json::from_value(written).ok()?;
    let common = &jwk.common;
    let is_of_use = |purpose: &PublicKeyUse| *purpose == PublicKeyUse::Signature;
    let verifies = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
    if !common.public_key_use.as_ref().is_none_or(is_of_use)
        || !common.key_operations.as_ref().is_none_or(verifies)
    {
        return None;
    }
    let (family, curve) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if rsa.n.len() >= RSA_MODULUS_DIGITS_MIN => {
            (AlgorithmFamily::Rsa, EllipticCurve::P256)
        }
        AlgorithmParameters::EllipticCurve(ec) => (AlgorithmFamily::Ec, ec.curve.clone()),
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (AlgorithmFamily::Ed, EllipticCurve::Ed25519)
        }
        AlgorithmParameters::OctetKey(_) => (AlgorithmFamily::Hmac, EllipticCurve::P256),
        _ => return None,
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let is_short = |algorithm: &&Algorithm| {
        let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        family == AlgorithmFamily::Hmac && length < hash_bytes(**algorithm)
    };
    let own = own_algorithms(family, &curve).iter();
    let own: Vec<_> = own.filter(|own| !is_short(own)).copied().collect();
    let own = match common.key_algorithm {
        None => own,
        // The key says itself what it is for.
        Some(said) => {
            let said = Algorithm::try_from(said).ok()?;
            own.into_iter().filter(|own| *own == said).collect()
        }
    };
    let id = common.key_id.as_deref().map(Box::from);
    VerificationKey::new(id, &own, key, allowed)
}

/// What a kind of key can verify.
fn own_algorithms(family: AlgorithmFamily, curve: &EllipticCurve) -> &'static [Algorithm] {
    match (family, curve) {
        (AlgorithmFamily::Hmac, _) => &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
        (AlgorithmFamily::Rsa, _) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        (AlgorithmFamily::Ec, EllipticCurve::P256) => &[Algorithm::ES256],
        (AlgorithmFamily::Ec, EllipticCurve::P384) => &[Algorithm::ES384],
        (AlgorithmFamily::Ec, _) => &[],
        (AlgorithmFamily::Ed, _) => &[Algorithm::EdDSA],
    }
}

/// The bytes of a secret's hash; none of other kinds.
const fn hash_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 0,
    }
}
