//! An authority that issues certificates for the tests.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// A certificate and its key, as the texts of files.
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Issued {
    /// Writes both beside a configuration as `{name}.pem` and `{name}.key`, the key first, each in
    /// one step.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        for (ending, text) in [("key", &self.key), ("pem", &self.cert)] {
            let beside = folder.join(format!("{name}.{ending}.new"));
            fs::write(&beside, text).unwrap();
            fs::rename(beside, folder.join(format!("{name}.{ending}"))).unwrap();
        }
    }
}

/// Issues certificates.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::with(Vec::new())
    }

    /// One that says twice that it is one, which a certificate must not.
    pub(crate) fn peculiar() -> Self {
        let basic_constraints = [2, 5, 29, 19];
        let is_authority = vec![0x30, 3, 1, 1, 0xff];
        let again = CustomExtension::from_oid_content(&basic_constraints, is_authority);
        Self::with(vec![again])
    }

    fn with(extensions: Vec<CustomExtension>) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.custom_extensions = extensions;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "An authority of the tests");
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for some names, with a subject to tell it by.
    pub(crate) fn issue(&self, subject: &str, names: &[&str]) -> Issued {
        self.sign(params(subject, names))
    }

    /// One that expired long ago.
    pub(crate) fn issue_expired(&self, subject: &str, names: &[&str]) -> Issued {
        let mut params = params(subject, names);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(params)
    }

    /// One for a client, with a URI beside other names.
    pub(crate) fn issue_to_client(&self, subject: &str, uri: &str) -> Issued {
        let mut params = params(subject, &["client.test"]);
        let uri = SanType::URI(uri.try_into().unwrap());
        params.subject_alt_names.push(uri);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        Issued {
            cert: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that trusts this authority only.
    pub(crate) fn trusting_client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(der).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

fn params(subject: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}
