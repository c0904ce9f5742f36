//! The pools of servers.

use std::num::NonZeroU16;
use std::sync::Arc;

use crate::domain::backend::{
    Backend, BackendTls, BalancePolicy, Balancing, Endpoint, Http1Client, Limits, Protocol,
    Timeouts,
};
use crate::domain::ids::BackendName;
use crate::domain::retries::Retries;

use crate::config::defaults::{self, BACKEND_LIMIT_MAX};
use crate::config::document::{
    BackendDocument, BackendLimitsDocument, BalanceDocument, Http1ClientDocument, ProtocolDocument,
    TimeoutsDocument,
};
use crate::config::group::ReadFile;
use crate::config::health::health;
use crate::config::outlier::outlier;
use crate::config::report::{Problem, Report};
use crate::config::retries::retries;
use crate::config::text::{EndpointUrl, Span};
use crate::config::tls::{is_tls_name, upstream};
use crate::config::written::{Count, Named, NamedEntry, ShortOr, Written};

type Section = ShortOr<Written<EndpointUrl>, BackendDocument>;

/// What it takes to understand `backends`.
#[derive(Clone, Copy)]
pub(super) struct BackendReader<'a> {
    pub(super) read_file: ReadFile<'a>,
    pub(super) report: &'a Report,
}

impl BackendReader<'_> {
    /// Understands `backends`, in the file's order.
    pub(super) fn backends(&self, section: &Named<BackendName, Section>) -> Vec<Backend> {
        section
            .0
            .iter()
            .filter_map(|entry| self.backend(entry))
            .collect()
    }

    fn backend(&self, entry: &NamedEntry<BackendName, Section>) -> Option<Backend> {
        let name = entry.name.value.clone();
        Some(match entry.value.as_ref()? {
            ShortOr::Short(url) => {
                let tls = url.value.is_tls.then(BackendTls::default);
                self.expect_names(&[url], tls.as_ref());
                Backend {
                    name,
                    endpoints: vec![url.value.endpoint.clone()],
                    balancing: Balancing::default(),
                    timeouts: defaults::TIMEOUTS,
                    limits: defaults::BACKEND_LIMITS,
                    health: None,
                    outlier: None,
                    protocol: defaults::BACKEND_PROTOCOL,
                    http1_client: defaults::BACKEND_HTTP1_CLIENT,
                    tls: tls.map(Arc::new),
                    retries: Retries::default(),
                }
            }
            ShortOr::Long(document) => {
                let urls: Vec<_> = urls(document).collect();
                Backend {
                    name,
                    endpoints: self.endpoints(document, &urls),
                    balancing: balancing(document),
                    timeouts: timeouts(&document.timeouts),
                    limits: limits(&document.limits),
                    health: (document.health.as_ref()).map(|it| health(&it.value, self.report)),
                    outlier: (document.outlier.as_ref()).map(|it| outlier(&it.value, self.report)),
                    protocol: protocol(document.protocol),
                    http1_client: http1_client(document.http1_client),
                    tls: self.tls(document, &urls).map(Arc::new),
                    retries: retries(document.retries.as_ref(), self.report),
                }
            }
        })
    }

    /// At least one, each once.
    fn endpoints(
        &self,
        document: &BackendDocument,
        urls: &[&Written<EndpointUrl>],
    ) -> Vec<Endpoint> {
        let (section, report) = (&document.endpoints, self.report);
        if section.value.is_empty() && !report.has_problem_within(section.place) {
            let problem = Problem::new("a backend needs at least one endpoint");
            report.add(
                section.place,
                problem.hint("write `endpoints: [\"http://10.0.0.1:8000\"]`"),
            );
        }
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for url in urls {
            let endpoint = &url.value.endpoint;
            if endpoints.contains(endpoint) {
                let problem = Problem::new(format!("endpoint `{endpoint}` is listed twice"));
                report.add(url.place, problem.hint("remove one of the two"));
            }
            endpoints.push(endpoint.clone());
        }
        endpoints
    }

    /// All endpoints with TLS, or none.
    fn tls(
        &self,
        document: &BackendDocument,
        urls: &[&Written<EndpointUrl>],
    ) -> Option<BackendTls> {
        let is_tls = urls.first()?.value.is_tls;
        let [scheme, other] = if is_tls {
            ["https", "http"]
        } else {
            ["http", "https"]
        };
        for url in urls.iter().filter(|url| url.value.is_tls != is_tls) {
            let problem = Problem::new(format!(
                "`{other}://` in a backend that begins with `{scheme}://`"
            ));
            let hint = "give all endpoints of a backend one scheme, or make two backends of them";
            self.report.add(url.place, problem.hint(hint));
        }
        let written = document.tls.as_ref();
        if !is_tls {
            if let Some(written) = written {
                let problem = Problem::new("`tls` beside `http://`");
                let hint = "write `https://` in the endpoints' URLs, or remove `tls`";
                self.report.add(written.place, problem.hint(hint));
            }
            return None;
        }
        let tls = written.map(|written| upstream(&written.value, self.read_file, self.report));
        let tls = tls.unwrap_or_default();
        self.expect_names(urls, Some(&tls));
        Some(tls)
    }

    /// Each endpoint must have a name to ask for.
    fn expect_names(&self, urls: &[&Written<EndpointUrl>], tls: Option<&BackendTls>) {
        if tls.is_none_or(|tls| tls.server_name.is_some()) {
            return;
        }
        for url in urls {
            let host = &url.value.endpoint.host;
            if !is_tls_name(host) {
                let problem = Problem::new(format!("`{host}` is no name for TLS"));
                let hint = "say with `tls.server_name` which name its certificate holds";
                self.report.add(url.place, problem.hint(hint));
            }
        }
    }
}

fn urls(document: &BackendDocument) -> impl Iterator<Item = &Written<EndpointUrl>> {
    let endpoints = document.endpoints.value.iter();
    endpoints.map(|endpoint| match endpoint {
        ShortOr::Short(url) => url,
        ShortOr::Long(document) => &document.url,
    })
}

fn balancing(document: &BackendDocument) -> Balancing {
    let endpoints = document.endpoints.value.iter();
    let weights = endpoints.map(|endpoint| match endpoint {
        ShortOr::Long(document) => document
            .weight
            .and_then(|weight| NonZeroU16::new(u16::try_from(weight.0).ok()?))
            .unwrap_or(NonZeroU16::MIN),
        ShortOr::Short(_) => NonZeroU16::MIN,
    });
    let mut weights: Vec<_> = weights.collect();
    if weights.windows(2).all(|pair| pair[0] == pair[1]) {
        weights.clear();
    }
    Balancing {
        policy: policy(document.balance),
        weights,
    }
}

const fn policy(document: Option<BalanceDocument>) -> BalancePolicy {
    match document {
        None => defaults::BALANCE_POLICY,
        Some(BalanceDocument::RoundRobin) => BalancePolicy::RoundRobin,
        Some(BalanceDocument::PowerOfTwo) => BalancePolicy::PowerOfTwo,
        Some(BalanceDocument::LeastRequest) => BalancePolicy::LeastRequest,
        Some(BalanceDocument::RingHash) => BalancePolicy::RingHash,
    }
}

const fn http1_client(document: Option<Http1ClientDocument>) -> Http1Client {
    match document {
        None => defaults::BACKEND_HTTP1_CLIENT,
        Some(Http1ClientDocument::Own) => Http1Client::Own,
        Some(Http1ClientDocument::Hyper) => Http1Client::Hyper,
    }
}

const fn protocol(document: Option<ProtocolDocument>) -> Protocol {
    match document {
        None => defaults::BACKEND_PROTOCOL,
        Some(ProtocolDocument::Auto) => Protocol::Auto,
        Some(ProtocolDocument::H1) => Protocol::Http1,
        Some(ProtocolDocument::H2) => Protocol::Http2,
    }
}

fn timeouts(document: &TimeoutsDocument) -> Timeouts {
    let span = |written: &Option<Written<Span>>| written.as_ref().map(|span| span.value.0);
    let default = defaults::TIMEOUTS;
    Timeouts {
        connect: span(&document.connect).unwrap_or(default.connect),
        response: span(&document.response).unwrap_or(default.response),
        idle: span(&document.idle).unwrap_or(default.idle),
    }
}

fn limits(document: &BackendLimitsDocument) -> Limits {
    let count = |written: Option<Count<BACKEND_LIMIT_MAX>>, default| {
        written.map_or(default, |count| {
            usize::try_from(count.0).unwrap_or(usize::MAX)
        })
    };
    let default = defaults::BACKEND_LIMITS;
    Limits {
        connections: count(document.connections, default.connections),
        pending: count(document.pending, default.pending),
    }
}
