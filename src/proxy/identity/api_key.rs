//! An app's key: found in a request, and taken out of it.
//!
//! A key is read before anything else looks at the request, for it may stand in the query, which is logged.

use http::uri::PathAndQuery;
use http::{HeaderName, Request, Uri};
use percent_encoding::percent_decode_str;

use crate::domain::identity::{ApiKeyPlace, ApiKeySource, IdentitySource};
use crate::domain::matcher::query::parameter;
use crate::domain::timestamp::Timestamp;
use crate::proxy::headers;
use crate::runtime::apps::{AppRegistry, Holder};

/// What a request brings: the holder of the first key that is found, none where there is no key.
pub(crate) fn take<B>(
    sources: &[IdentitySource],
    registry: &AppRegistry,
    request: &mut Request<B>,
    now: Timestamp,
) -> Option<Holder> {
    let mut found = None;
    for source in sources {
        let IdentitySource::ApiKey(source) = source else {
            continue;
        };
        if found.is_none() {
            found = look(source, registry, request, now);
        }
        hide(source, request);
    }
    found
}

fn look<B>(
    source: &ApiKeySource,
    registry: &AppRegistry,
    request: &Request<B>,
    now: Timestamp,
) -> Option<Holder> {
    match &source.place {
        ApiKeyPlace::Header(name) => {
            let value = request.headers().get(name)?;
            Some(registry.holder(value.as_bytes().trim_ascii(), now))
        }
        ApiKeyPlace::Query(name) => {
            let value = parameter(request.uri().query()?, name)?;
            let key: Vec<u8> = percent_decode_str(value).collect();
            Some(registry.holder(&key, now))
        }
    }
}

/// Takes a key out, unless the backend is to see it.
fn hide<B>(source: &ApiKeySource, request: &mut Request<B>) {
    if source.forward {
        return;
    }
    match &source.place {
        ApiKeyPlace::Header(name) => hide_header(name, request),
        ApiKeyPlace::Query(name) => hide_parameter(name, request),
    }
}

fn hide_header<B>(name: &HeaderName, request: &mut Request<B>) {
    headers::remove_alike(request.headers_mut(), name);
}

/// Takes all parameters of a name out; what is left stays as it was sent.
fn hide_parameter<B>(name: &str, request: &mut Request<B>) {
    let uri = request.uri();
    let Some(query) = uri.query().filter(|query| parameter(query, name).is_some()) else {
        return;
    };
    let is_other = |pair: &&str| pair.split('=').next() != Some(name);
    let left: Vec<_> = query.split('&').filter(is_other).collect();
    let path = uri.path();
    let target = match left.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", left.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    // Parts of what was a target are one again; what is not must not go on with its key.
    let target = target.parse::<PathAndQuery>();
    parts.path_and_query = Some(target.unwrap_or_else(|_| PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(target: &str) -> String {
        let mut request = Request::builder().uri(target).body(()).unwrap();
        let source = ApiKeySource {
            place: ApiKeyPlace::Query("key".into()),
            forward: false,
        };
        hide(&source, &mut request);
        request.uri().to_string()
    }

    #[test]
    fn a_parameter_goes_and_the_rest_stays_as_it_was() {
        for (before, after) in [
            ("/a?key=x", "/a"),
            ("/a?b=%20&key=x&c&key=y", "/a?b=%20&c"),
            ("/a?keys=x&b", "/a?keys=x&b"),
            ("/a?key", "/a"),
            ("http://h/a?key=x&b=1", "http://h/a?b=1"),
            ("/a", "/a"),
        ] {
            assert_eq!(hidden(before), after, "{before}");
        }
    }

    #[test]
    fn a_header_goes_in_whichever_spelling_unless_it_is_forwarded() {
        for (forward, left) in [(false, 0), (true, 2)] {
            let mut request = Request::new(());
            for name in ["x-api-key", "x_api_key"] {
                let value = "k".parse().unwrap();
                request.headers_mut().append(name, value);
            }
            let source = IdentitySource::ApiKey(ApiKeySource {
                place: ApiKeyPlace::Header(HeaderName::from_static("x-api-key")),
                forward,
            });
            let registry = AppRegistry::default();
            let found = take(&[source], &registry, &mut request, Timestamp::default());
            assert!(matches!(found, Some(Holder::Nobody)));
            assert_eq!(request.headers().len(), left);
        }
    }
}
