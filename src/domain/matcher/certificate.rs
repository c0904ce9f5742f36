//! Matches a request by what the client's certificate calls it.

use crate::domain::caller::RequestFacts;
use crate::domain::identity::CertificateName;
use crate::domain::matcher::Matches;
use crate::domain::matcher::text::TextPattern;

/// The client has shown a certificate with a fitting name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateMatcher {
    /// The kind of name.
    pub kind: CertificateName,
    /// What it must be.
    pub value: TextPattern,
}

impl Matches for CertificateMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        let name = facts.certificate.and_then(|shown| shown.name(self.kind));
        name.is_some_and(|name| self.value.fits(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::certificate::CertificateNames;
    use crate::domain::testing::FactsBuilder;

    #[test]
    fn only_the_kind_of_name_that_is_asked_for_fits() {
        let shown = CertificateNames {
            san_uri: Some("spiffe://shop/cart".into()),
            ..CertificateNames::default()
        };
        let request = FactsBuilder::anonymous();
        let fits = |kind, certificate| {
            let value = TextPattern::Prefix("spiffe://shop/".into());
            let facts = RequestFacts {
                certificate,
                ..request.facts()
            };
            CertificateMatcher { kind, value }.matches(&facts)
        };
        assert!(fits(CertificateName::SanUri, Some(&shown)));
        assert!(!fits(CertificateName::SubjectCn, Some(&shown)));
        assert!(!fits(CertificateName::SanUri, None));
    }
}
