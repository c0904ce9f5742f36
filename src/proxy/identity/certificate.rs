//! A caller's key from the certificate that its client has shown.
//!
//! It was verified in the handshake, and belongs to the connection with all its requests. What it
//! says is read once.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::domain::certificate::CertificateNames;

/// Reads the names in a certificate, the first of each kind; one that cannot be read says nothing.
pub(crate) fn read(der: &[u8]) -> CertificateNames {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return CertificateNames::default();
    };
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.map(|extension| &extension.value.general_names);
    let mut found = CertificateNames::default();
    for name in alternatives.into_iter().flatten() {
        match name {
            GeneralName::URI(uri) => note(&mut found.san_uri, uri),
            GeneralName::DNSName(name) => note(&mut found.san_dns, &name.to_ascii_lowercase()),
            _ => {}
        }
    }
    for name in certificate.subject().iter_common_name() {
        if let Ok(name) = name.as_str() {
            note(&mut found.subject_cn, name);
        }
    }
    found
}

/// Keeps the first. What cannot be shown on one line is nobody's name.
fn note(place: &mut Option<Box<str>>, name: &str) {
    if place.is_none() && !name.contains(char::is_control) {
        *place = Some(name.into());
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;
    use crate::domain::identity::CertificateName;

    fn made(common_name: &str, names: Vec<SanType>) -> CertificateNames {
        let mut params = CertificateParams::new([]).unwrap();
        params.subject_alt_names = names;
        let subject = &mut params.distinguished_name;
        subject.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        read(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn the_first_name_of_each_kind_is_the_key() {
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
        let names = vec![
            dns("One.test"),
            uri("spiffe://x/1"),
            dns("two.test"),
            uri("b:c"),
        ];
        let read = made("ann", names);
        assert_eq!(read.name(CertificateName::SanUri), Some("spiffe://x/1"));
        assert_eq!(read.name(CertificateName::SanDns), Some("one.test"));
        assert_eq!(read.name(CertificateName::SubjectCn), Some("ann"));
    }

    #[test]
    fn what_is_not_there_or_not_a_name_is_no_key() {
        assert_eq!(made("a\nb", Vec::new()), CertificateNames::default());
        assert_eq!(read(b"nothing"), CertificateNames::default());
    }
}
