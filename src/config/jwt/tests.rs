use std::env::VarError;
use std::io;
use std::path::Path;

use crate::config::parse;
use crate::domain::identity::IdentitySource;
use crate::domain::jwt::testing::{Signer, jwks};
use crate::domain::jwt::{Algorithm, TokenPlace};

/// What is wrong with a source of tokens; files are found by name.
fn problems(source: &str, files: &[(&str, &str)]) -> Vec<String> {
    match read(source, files) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.lines().map(str::to_owned).collect(),
    }
}

fn read(source: &str, files: &[(&str, &str)]) -> Result<IdentitySource, String> {
    let text = format!(
        "identity: [{{ jwt: {source} }}]\nlisteners: [{{ address: \"127.0.0.1:80\" }}]\n\
         backends: {{ a: http://a }}\nroutes: [{{ backend: a }}]\n"
    );
    let read_file = |path: &Path| {
        let mut named = files.iter();
        let file = named.find(|(name, _)| Path::new(name) == path);
        file.map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let config = parse(&text, &read_file, &|_| Err(VarError::NotPresent));
    let mut config = config.map_err(|errors| errors.to_string())?;
    Ok(config.identity.remove(0))
}

#[test]
fn what_is_left_out_is_safe() {
    let signer = Signer::new("1", Algorithm::ES256);
    let source = read("{ jwks_file: k }", &[("k", &jwks(&[&signer]))]).unwrap();
    let IdentitySource::Jwt(source) = source else {
        unreachable!()
    };
    assert_eq!(
        source.place,
        TokenPlace::Header(http::header::AUTHORIZATION)
    );
    let expected = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    assert_eq!(*source.policy.algorithms, expected);
    assert_eq!(
        (&*source.policy.claim, source.policy.leeway.as_secs()),
        ("sub", 60)
    );
    assert!(!source.required);
}

/// Sources and what is said of them; nothing where they are good.
const REFUSED: &[(&str, &str)] = &[
    ("{ jwks_file: set }", ""),
    (
        "{ jwks_file: set, algorithms: [RS256] }",
        "has no key for RS256",
    ),
    (
        "{ jwks_file: set, algorithms: [] }",
        "by which no token is good",
    ),
    (
        "{ jwks_file: set, algorithms: [none] }",
        "`none` is no algorithm",
    ),
    (
        "{ jwks_file: set, algorithms: [HS256] }",
        "has no key for HS256",
    ),
    (
        "{ jwks_file: set, algorithms: [ES256, HS256] }",
        "beside one of public keys",
    ),
    ("{ jwks_file: pem }", "is not a JSON Web Key Set"),
    ("{ jwks_file: gone }", "cannot read `gone`"),
    (
        "{ jwks_file: set, refresh: 5m }",
        "`refresh` without `jwks_url`",
    ),
    ("{ jwks_file: set, key_file: pem }", "keys from two places"),
    (
        "{ jwks_file: set, audience: [] }",
        "is an empty list, for which no token is",
    ),
    (
        "{ jwks_file: set, leeway: 1h }",
        "good long after their time",
    ),
    (
        "{ jwks_file: set, cookie: a, header: b }",
        "`cookie` beside `header`",
    ),
    ("{ key_file: pem }", ""),
    ("{ key_file: private }", "is a private key"),
    (
        "{ key_file: secret }",
        "a secret needs `algorithms: [HS256]`",
    ),
    ("{ key_file: secret, algorithms: [HS256] }", ""),
    (
        "{ key_file: secret, algorithms: [HS512] }",
        "is shorter than 64 bytes",
    ),
    (
        "{ key_file: short, algorithms: [HS256] }",
        "is shorter than 32 bytes",
    ),
    ("{ jwks_url: \"https://id.test/keys\" }", ""),
    ("{ jwks_url: \"http://127.0.0.1:80/keys\" }", ""),
    ("{ jwks_url: \"http://[::1]/keys\" }", ""),
    (
        "{ jwks_url: \"http://id.test/keys\" }",
        "can be changed on their way",
    ),
    (
        "{ jwks_url: \"http://localhost.evil.test/\" }",
        "can be changed on their way",
    ),
    (
        "{ jwks_url: \"https://u:p@id.test/\" }",
        "user and password",
    ),
    ("{ jwks_url: \"ftp://id.test/\" }", "is not a URL such as"),
    ("{ jwks_url: /keys }", "is not a URL such as"),
    ("{ jwks_url: \"https://id.test/k#1\" }", "has a `#`"),
    (
        "{ jwks_url: \"https://id.test/\", refresh: 10ms }",
        "more than issuers like",
    ),
    (
        "{ jwks_url: \"https://id.test/\", timeout: 2m }",
        "longer than a minute",
    ),
    (
        "{ jwks_url: \"https://id.test/\", algorithms: [HS256] }",
        "at no URL",
    ),
];

#[test]
fn what_is_not_safe_is_refused() {
    let signer = Signer::new("1", Algorithm::ES256);
    let (set, secret) = (jwks(&[&signer]), "0123456789abcdef0123456789abcdef");
    let files = [
        ("set", &*set),
        ("pem", &*signer.pem),
        ("private", &*signer.private_pem),
        ("secret", secret),
        ("short", "hunter2"),
    ];
    for (source, expected) in REFUSED {
        let found = problems(source, &files);
        match *expected {
            "" => assert_eq!(found, [""; 0], "{source}"),
            expected => {
                assert!(
                    found.len() == 1 && found[0].contains(expected),
                    "{source}: {found:?}"
                );
                assert!(!found[0].contains("hunter2") && !found[0].contains(secret));
            }
        }
    }
}
