//! How backends are told of.

use crate::admin::wire::{BackendStatus, EndpointStatus};
use crate::cli::words::Paint;

/// Prints which endpoints get no requests, or that there are none such.
pub(crate) fn print(backends: &[BackendStatus], paint: Paint) {
    let mut is_all_well = true;
    for backend in backends {
        for endpoint in &backend.endpoints {
            if let Some(trouble) = trouble(endpoint) {
                is_all_well = false;
                let line = format!(
                    "{}: endpoint {} {trouble}; {} of {} are usable",
                    backend.backend,
                    endpoint.endpoint,
                    backend.endpoints.iter().filter(|it| it.is_usable()).count(),
                    backend.endpoints.len(),
                );
                println!("{}", paint.alarm(&line));
            }
        }
    }
    let all: usize = backends.iter().map(|it| it.endpoints.len()).sum();
    if is_all_well && is_anyone_looked_at(backends) {
        println!("endpoints: all {all} usable");
    } else if is_all_well {
        println!("endpoints: {all}, whose health nobody checks (`health`, `outlier`)");
    }
}

/// Why an endpoint gets no requests, if it gets none.
pub(crate) fn trouble(endpoint: &EndpointStatus) -> Option<&'static str> {
    match (endpoint.is_healthy, endpoint.is_ejected) {
        (Some(false), Some(true)) => Some("is unhealthy and ejected"),
        (Some(false), _) => Some("is unhealthy"),
        (_, Some(true)) => Some("is ejected"),
        _ => None,
    }
}

fn is_anyone_looked_at(backends: &[BackendStatus]) -> bool {
    let mut endpoints = backends.iter().flat_map(|backend| &backend.endpoints);
    endpoints.any(|endpoint| endpoint.is_healthy.is_some() || endpoint.is_ejected.is_some())
}
