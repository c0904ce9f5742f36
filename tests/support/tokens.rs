//! Issues tokens, with keys of every kind.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "what goes wrong here fails the test that is running, which takes what it needs"
)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize,
};
use serde_json::{Value, json};

/// A key that signs tokens.
pub(crate) struct Signer {
    pub(crate) id: String,
    pub(crate) algorithm: Algorithm,
    /// The public half in PEM; empty for a secret.
    pub(crate) pem: String,
    /// The private half in PEM; empty for a secret.
    pub(crate) private_pem: String,
    key: EncodingKey,
    public: Value,
}

impl Signer {
    /// A new pair for an algorithm of public keys.
    pub(crate) fn new(id: &str, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::ES256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Algorithm::ES384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Algorithm::EdDSA => KeyPair::generate_for(&PKCS_ED25519),
            _ => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let pair = pair.unwrap();
        let private = pair.serialize_pem();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(private.as_bytes()),
            Algorithm::EdDSA => Ok(EncodingKey::from_ed_der(&pair.serialize_der())),
            _ => EncodingKey::from_rsa_pem(private.as_bytes()),
        };
        let key = key.unwrap();
        let mut public = match algorithm {
            Algorithm::EdDSA => {
                let x = URL_SAFE_NO_PAD.encode(pair.der_bytes());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
            _ => json!(Jwk::from_encoding_key(&key, algorithm).unwrap()),
        };
        public["kid"] = json!(id);
        public["use"] = json!("sig");
        Self {
            id: id.to_owned(),
            algorithm,
            pem: pair.public_key_pem(),
            private_pem: private,
            key,
            public,
        }
    }

    /// A secret.
    pub(crate) fn of_secret(secret: &[u8], algorithm: Algorithm) -> Self {
        let key = EncodingKey::from_secret(secret);
        let public = json!(Jwk::from_encoding_key(&key, algorithm).unwrap());
        Self {
            id: String::new(),
            algorithm,
            pem: String::new(),
            private_pem: String::new(),
            key,
            public,
        }
    }

    /// The key in a set, with other or further members.
    pub(crate) fn jwk(&self, members: &Value) -> Value {
        let mut jwk = self.public.clone();
        for (name, value) in members.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    /// A token that names its key.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone()).filter(|id| !id.is_empty());
        self.sign_with(&header, claims)
    }

    /// A token with a head of its own.
    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }
}

/// A set of keys.
pub(crate) fn jwks(signers: &[&Signer]) -> String {
    let keys: Vec<_> = signers.iter().map(|one| one.jwk(&json!({}))).collect();
    json!({ "keys": keys }).to_string()
}

/// A token that is signed by nobody, with a head as it is written.
pub(crate) fn unsigned(head: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(head), part(claims))
}
