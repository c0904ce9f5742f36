//! Finds what is right in a configuration and of no use all the same: what the library that is to
//! work with it refuses.

use crate::config::{Config, Objection};
use crate::proxy::tls_objection;

/// What is of no use, with its place.
pub(super) fn objections(config: &Config) -> Vec<Objection> {
    let mut objections = Vec::new();
    for backend in &config.backends {
        let objection = backend.tls.as_deref().and_then(tls_objection);
        objections.extend(objection.map(|objection| {
            let name = backend.name.as_str();
            Objection {
                path: ["backends", name, "tls", objection.key]
                    .map(str::to_owned)
                    .into(),
                problem: format!("TLS cannot be spoken with this: {}", objection.reason),
                hint: "have the certificates issued anew".to_owned(),
            }
        }));
    }
    objections
}
