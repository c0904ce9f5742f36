//! Reads PEM files that the configuration names, and tells what is wrong with them.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::config::group::ReadFile;
use crate::config::report::{AS_WRITTEN, Problem, Report};
use crate::config::secret::unreadable;
use crate::config::text::NonEmpty;
use crate::config::tls::certificate::facts;
use crate::config::written::Written;

/// A problem without a word of the file, and a hint.
pub(super) type Objection = (String, &'static str);

/// What a file of certificates looks like.
pub(super) const CERT_HINT: &str = "give a PEM file that begins with `-----BEGIN CERTIFICATE-----`";

/// By what files are read, and where problems go.
#[derive(Clone, Copy)]
pub(in crate::config) struct PemFiles<'a> {
    pub(in crate::config) read_file: ReadFile<'a>,
    pub(in crate::config) report: &'a Report,
}

impl PemFiles<'_> {
    /// Reads a file; `None` where it cannot be had or understood, which is reported.
    pub(super) fn read<T>(
        &self,
        written: &Written<NonEmpty>,
        understand: impl FnOnce(&str) -> Result<T, Objection>,
    ) -> Option<T> {
        let text = (self.read_file)(Path::new(&written.value.0)).map_err(|error| {
            let problem = format!("cannot read `{AS_WRITTEN}`: {}", unreadable(&error));
            (
                problem,
                "write a path that is absolute or starts at this file",
            )
        });
        let understood = text.and_then(|text| understand(&text));
        understood
            .map_err(|objection| self.refuse(written, objection))
            .ok()
    }

    /// Reports what is wrong with a file.
    pub(super) fn refuse(&self, written: &Written<NonEmpty>, (problem, hint): Objection) {
        let problem = Problem::new(problem).hint(hint);
        self.report.add(written.place, problem.without_value());
    }
}

/// The certificates in a text: at least one.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, Objection> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match read {
        // The library tells broken parts as lists of numbers.
        Err(_) => Err((
            format!("`{AS_WRITTEN}` is not PEM, or not all of it"),
            CERT_HINT,
        )),
        Ok(none) if none.is_empty() => {
            Err((format!("`{AS_WRITTEN}` has no certificate"), CERT_HINT))
        }
        Ok(found) => Ok(found),
    }
}

/// The certificates of authorities in a file: at least one, each readable.
pub(in crate::config) fn authorities(
    written: &Written<NonEmpty>,
    files: PemFiles<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    files.read(written, |text| {
        let found = certificates(text)?;
        facts(&found)?;
        Ok(found)
    })
}
