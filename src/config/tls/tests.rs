use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm,
};

use super::*;
use crate::config::{self, Config};

/// A file for each name: `a.pem` and `a.key` belong together.
static FILES: LazyLock<HashMap<String, String>> = LazyLock::new(files);

/// A certificate and its key, as the texts of two files.
fn issued(names: &[&str], kind: &'static SignatureAlgorithm) -> [String; 2] {
    let key = KeyPair::generate_for(kind).unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    [certificate.pem(), key.serialize_pem()]
}

fn files() -> HashMap<String, String> {
    let mut files = HashMap::new();
    let mut add = |name: &str, [cert, key]: [String; 2]| {
        files.insert(format!("{name}.pem"), cert);
        files.insert(format!("{name}.key"), key);
    };
    add(
        "a",
        issued(&["A.test", "*.a.test", "a.test"], &PKCS_ECDSA_P256_SHA256),
    );
    add("b", issued(&["b.test"], &PKCS_ECDSA_P384_SHA384));
    add("ed", issued(&["ed.test"], &PKCS_ED25519));
    add("nameless", issued(&[], &PKCS_ECDSA_P256_SHA256));
    add("chained", chained());
    let sealed =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let texts = [
        ("none.pem", "nothing\n".to_owned()),
        ("cut.pem", files["a.pem"].replace("-----END", "")),
        ("cut.key", files["a.key"].replace("-----END", "")),
        ("sealed.key", sealed.to_owned()),
        ("no.pem", pem("CERTIFICATE")),
        ("no.key", pem("PRIVATE KEY")),
        ("both.pem", format!("{}{}", files["a.key"], files["a.pem"])),
        (
            "wrong-way.pem",
            format!("{}{}", files["b.pem"], files["a.pem"]),
        ),
    ];
    files.extend(texts.map(|(name, text)| (name.to_owned(), text)));
    files
}

/// A server's certificate and its authority's, in this order.
fn chained() -> [String; 2] {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["chained.test".to_owned()]).unwrap();
    let own = own
        .signed_by(&key, &Issuer::new(params, authority_key))
        .unwrap();
    [own.pem() + &authority.pem(), key.serialize_pem()]
}

/// Something that is well formed PEM, and nothing else.
fn pem(kind: &str) -> String {
    format!("-----BEGIN {kind}-----\nMAA=\n-----END {kind}-----\n")
}

fn parse(tls: &str) -> Result<Config, String> {
    let text = format!(
        "listeners:\n  - address: 127.0.0.1:0\n    tls: {tls}\n\
         backends: {{ v1: http://v1 }}\nroutes: [{{ backend: v1 }}]\n"
    );
    let read_file = |path: &Path| {
        let text = path.to_str().and_then(|name| FILES.get(name));
        text.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let parsed = config::parse(&text, &read_file, &|_| Err(std::env::VarError::NotPresent));
    parsed.map_err(|errors| errors.to_string())
}

fn tls(written: &str) -> ListenerTls {
    let config = parse(written).unwrap();
    config.listeners[0].tls.clone().unwrap()
}

#[test]
fn certificates_are_read_with_their_names_and_what_belongs_to_them() {
    let tls = tls(
        "{ certificates: [{ cert: a.pem, key: a.key }, { cert: b.pem, key: b.key }, \
         { cert: ed.pem, key: ed.key }, { cert: chained.pem, key: chained.key }] }",
    );
    let names: Vec<_> = tls
        .certificates
        .iter()
        .map(|one| one.names.join(" "))
        .collect();
    assert_eq!(
        names,
        ["a.test *.a.test", "b.test", "ed.test", "chained.test"]
    );
    let lengths: Vec<_> = tls.certificates.iter().map(|one| one.chain.len()).collect();
    assert_eq!(lengths, [1, 1, 1, 2]);
    assert_eq!(tls.min_version, TlsVersion::Tls12);
    assert_eq!(tls.handshake_timeout, Duration::from_secs(10));
    assert!(!format!("{tls:?}").contains("key"), "{tls:?}");
}

#[test]
fn one_file_may_hold_both_and_a_first_certificate_no_name() {
    let tls = tls(
        "{ certificates: [{ cert: nameless.pem, key: nameless.key }, \
         { cert: both.pem, key: both.pem }], min_version: \"1.3\", handshake_timeout: 2s }",
    );
    assert_eq!(tls.certificates[0].names, [""; 0]);
    assert_eq!(tls.certificates[1].names, ["a.test", "*.a.test"]);
    assert_eq!(tls.min_version, TlsVersion::Tls13);
    assert_eq!(tls.handshake_timeout, Duration::from_secs(2));
}

#[test]
fn files_that_are_of_no_use_are_told_at_their_place() {
    assert_problems(&[
        (
            "{ certificates: [] }",
            "3:26: listeners[0].tls.certificates: there must be at least one certificate; \
             add `- { cert: edge.pem, key: edge.key }`",
        ),
        (
            "{ certificates: [{ cert: gone.pem, key: a.key }] }",
            "3:35: listeners[0].tls.certificates[0].cert: cannot read `gone.pem`: entity not \
             found; write a path that is absolute or starts at this file",
        ),
        (
            "{ certificates: [{ cert: a.pem, key: gone.key }] }",
            "3:47: listeners[0].tls.certificates[0].key: cannot read `gone.key`: entity not \
             found; write a path that is absolute or starts at this file",
        ),
        (
            "{ certificates: [{ cert: none.pem, key: a.key }] }",
            "3:35: listeners[0].tls.certificates[0].cert: `none.pem` has no certificate; \
             give a PEM file that begins with `-----BEGIN CERTIFICATE-----`",
        ),
        (
            "{ certificates: [{ cert: cut.pem, key: a.key }] }",
            "3:35: listeners[0].tls.certificates[0].cert: `cut.pem` is not PEM, or not all of \
             it; give a PEM file that begins with `-----BEGIN CERTIFICATE-----`",
        ),
        (
            "{ certificates: [{ cert: no.pem, key: a.key }] }",
            "3:35: listeners[0].tls.certificates[0].cert: `no.pem` holds something that is no \
             X.509 certificate; give a PEM file that begins with `-----BEGIN CERTIFICATE-----`",
        ),
        (
            "{ certificates: [{ cert: a.pem, key: a.pem }] }",
            "3:47: listeners[0].tls.certificates[0].key: `a.pem` has no private key; \
             give a PEM file that begins with `-----BEGIN PRIVATE KEY-----`",
        ),
        (
            "{ certificates: [{ cert: a.pem, key: cut.key }] }",
            "3:47: listeners[0].tls.certificates[0].key: `cut.key` is not PEM, or not all of \
             it; give a PEM file that begins with `-----BEGIN PRIVATE KEY-----`",
        ),
        (
            "{ certificates: [{ cert: a.pem, key: sealed.key }] }",
            "3:47: listeners[0].tls.certificates[0].key: the private key in `sealed.key` is \
             encrypted; decrypt it with `openssl pkey -in … -out …`, and let nobody else read \
             the file",
        ),
        (
            "{ certificates: [{ cert: a.pem, key: no.key }] }",
            "3:47: listeners[0].tls.certificates[0].key: the private key in `no.key` is broken, \
             or of an unknown kind; kinds are RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 \
             or P-521, and Ed25519",
        ),
    ]);
}

#[test]
fn what_does_not_go_together_is_told_at_its_place() {
    assert_problems(&[
        (
            "{ certificates: [{ cert: a.pem, key: b.key }] }",
            "3:47: listeners[0].tls.certificates[0].key: the private key in `b.key` does not \
             belong to the certificate; give the key that the certificate was issued for",
        ),
        (
            "{ certificates: [{ cert: wrong-way.pem, key: a.key }] }",
            "3:55: listeners[0].tls.certificates[0].key: the private key in `a.key` does not \
             belong to the certificate; in the file of the certificate, put the server's own \
             first and the authorities' after it",
        ),
        (
            "{ certificates: [{ cert: b.pem, key: b.key }, { cert: b.pem, key: b.key }] }",
            "3:64: listeners[0].tls.certificates[1].cert: `b.test` is in `certificates[0]` as \
             well; remove one of the two",
        ),
        (
            "{ certificates: [{ cert: b.pem, key: b.key }, { cert: nameless.pem, key: \
             nameless.key }] }",
            "3:64: listeners[0].tls.certificates[1].cert: this certificate holds no DNS name, \
             so nobody would get it; put it first, or have one issued with a subject \
             alternative name",
        ),
    ]);
}

/// Asserts that each text has one problem.
#[track_caller]
fn assert_problems(table: &[(&str, &str)]) {
    for (written, problem) in table {
        assert_eq!(parse(written).unwrap_err(), *problem, "{written}");
    }
}

#[test]
fn versions_and_times_are_held_to_what_makes_sense() {
    for (more, problem) in [
        (
            "min_version: \"1.1\"",
            "TLS 1.1 is broken and not spoken; write `\"1.2\"`",
        ),
        (
            "min_version: 1.3",
            "found the number `1.3`; put it in quotes: `\"1.3\"`",
        ),
        ("min_version: \"2\"", "`2` is not `\"1.2\"` or `\"1.3\"`"),
        (
            "handshake_timeout: 2m",
            "`2m` is longer than `1m`; a client that takes longer",
        ),
        (
            "client_ca: gone.pem",
            "tls.client_ca: cannot read `gone.pem`: entity not found; write a path",
        ),
        (
            "client_ca: a.key",
            "tls.client_ca: `a.key` has no certificate; give a PEM file",
        ),
        (
            "client_certificate: optional",
            "tls.client_certificate: `client_certificate` without `client_ca`; add `client_ca:`",
        ),
    ] {
        let written = format!("{{ certificates: [{{ cert: a.pem, key: a.key }}], {more} }}");
        let found = parse(&written).unwrap_err();
        assert!(found.contains(problem), "{found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

#[test]
fn clients_may_be_asked_for_a_certificate() {
    let clients = |more: &str| {
        let certificates = "certificates: [{ cert: a.pem, key: a.key }]";
        tls(&format!("{{ {certificates}, {more} }}"))
            .clients
            .unwrap()
    };
    let required = clients("client_ca: chained.pem");
    assert_eq!(required.authorities.len(), 2);
    assert_eq!(required.demand, Demand::Required);
    let optional = clients("client_ca: b.pem, client_certificate: optional");
    assert_eq!(optional.demand, Demand::Optional);
}

#[test]
fn a_certificate_is_good_from_its_first_second_to_its_last() {
    let validity = Validity {
        not_before: 100,
        not_after: 200,
    };
    let lapse = |now| validity.lapse(Duration::from_secs(now));
    assert_eq!(lapse(99), Some("is not valid yet"));
    assert_eq!((lapse(100), lapse(200)), (None, None));
    assert_eq!(lapse(201), Some("has expired"));
}
