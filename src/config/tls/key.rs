//! The public half of a private key, by which it is known which certificate it belongs to.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use rustls_pki_types::PrivateKeyDer;

/// The public half as a certificate holds it (RFC 5280, `subjectPublicKey`); `None` for a key that
/// cannot be used.
pub(super) fn public_key(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let of_rsa = |pair: rsa::KeyPair| pair.public_key().as_ref().to_vec();
    match key {
        PrivateKeyDer::Pkcs1(der) => rsa::KeyPair::from_der(der.secret_pkcs1_der())
            .ok()
            .map(of_rsa),
        PrivateKeyDer::Sec1(der) => of_ecdsa(der.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(der) => {
            let der = der.secret_pkcs8_der();
            let of_ed25519 = |pair: Ed25519KeyPair| pair.public_key().as_ref().to_vec();
            let rsa = rsa::KeyPair::from_pkcs8(der).ok().map(of_rsa);
            rsa.or_else(|| of_ecdsa(der)).or_else(|| {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
                pair.ok().map(of_ed25519)
            })
        }
        _ => None,
    }
}

fn of_ecdsa(der: &[u8]) -> Option<Vec<u8>> {
    let curves = [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
        &ECDSA_P521_SHA512_ASN1_SIGNING,
    ];
    let pair = |curve| EcdsaKeyPair::from_private_key_der(curve, der).ok();
    let pair = curves.into_iter().find_map(pair)?;
    Some(pair.public_key().as_ref().to_vec())
}
