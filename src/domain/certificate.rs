//! What a client's certificate calls it.

use crate::domain::identity::CertificateName;

/// The first name of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// The subject alternative name that is a URI.
    pub san_uri: Option<Box<str>>,
    /// The subject alternative name that is a DNS name, in lower case.
    pub san_dns: Option<Box<str>>,
    /// The subject's common name.
    pub subject_cn: Option<Box<str>>,
}

impl CertificateNames {
    /// The name of a kind.
    pub fn name(&self, kind: CertificateName) -> Option<&str> {
        match kind {
            CertificateName::SanUri => self.san_uri.as_deref(),
            CertificateName::SanDns => self.san_dns.as_deref(),
            CertificateName::SubjectCn => self.subject_cn.as_deref(),
        }
    }
}
