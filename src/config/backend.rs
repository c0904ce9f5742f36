//! The pools of servers.

use crate::domain::backend::{Backend, Endpoint, Timeouts};
use crate::domain::ids::BackendName;

use crate::config::defaults;
use crate::config::document::{BackendDocument, TimeoutsDocument};
use crate::config::report::{Problem, Report};
use crate::config::text::Span;
use crate::config::written::{Named, NamedEntry, ShortOr, Written};

/// Understands `backends`, in the file's order.
pub(super) fn backends(
    section: &Named<BackendName, ShortOr<Written<Endpoint>, BackendDocument>>,
    report: &Report,
) -> Vec<Backend> {
    let backend = |entry: &NamedEntry<BackendName, ShortOr<Written<Endpoint>, BackendDocument>>| {
        let (endpoints, timeouts) = match entry.value.as_ref()? {
            ShortOr::Short(url) => (vec![url.value.clone()], defaults::TIMEOUTS),
            ShortOr::Long(document) => (endpoints(document, report), timeouts(&document.timeouts)),
        };
        Some(Backend {
            name: entry.name.value.clone(),
            endpoints,
            timeouts,
        })
    };
    section.0.iter().filter_map(backend).collect()
}

fn endpoints(document: &BackendDocument, report: &Report) -> Vec<Endpoint> {
    let section = &document.endpoints;
    if section.value.is_empty() && !report.has_problem_within(section.place) {
        let problem = Problem::new("a backend needs at least one endpoint");
        report.add(
            section.place,
            problem.hint("write `endpoints: [\"http://10.0.0.1:8000\"]`"),
        );
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for endpoint in &section.value {
        let url = match endpoint {
            ShortOr::Short(url) => url,
            ShortOr::Long(document) => &document.url,
        };
        if endpoints.contains(&url.value) {
            let problem = Problem::new(format!("endpoint `{}` is listed twice", url.value));
            report.add(url.place, problem.hint("remove one of the two"));
        }
        endpoints.push(url.value.clone());
    }
    endpoints
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
