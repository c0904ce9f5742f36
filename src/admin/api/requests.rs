//! Requests as they end.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::admin::AdminState;
use crate::admin::api::query::{Parameters, Written};
use crate::admin::error::ApiError;
use crate::admin::sse::{Event, Outlet};
use crate::domain::evidence::Fault;
use crate::domain::ids::FlagName;
use crate::domain::routing::RoutingSnapshot;
use crate::domain::variant::Variant;
use crate::proxy::Onlooker;
use crate::telemetry::access_log::RequestFilter;

/// What can be asked for.
const PARAMETERS: [&str; 10] = [
    "flag",
    "variant",
    "group",
    "route",
    "backend",
    "method",
    "path",
    "fault",
    "status",
    "slower_than",
];

/// The group of everyone who is in none that the flag names.
const DEFAULT_GROUP: &str = "default";

/// Opens a stream of all requests that a filter wants, each as the access log tells it. It is a look and
/// no log: who reads too slowly misses some, and is told how many.
#[utoipa::path(
    get, path = "/api/v1/requests", tag = "events",
    params(
        ("flag" = Option<FlagName>, Query, description = "the flag that decided"),
        ("variant" = Option<String>, Query, description = "the variant decided for"),
        ("group" = Option<String>, Query, description = "the group; `default` for everyone else"),
        ("route" = Option<String>, Query, description = "the route"),
        ("backend" = Option<String>, Query, description = "the backend asked last"),
        ("method" = Option<String>, Query, description = "the method"),
        ("path" = Option<String>, Query, description = "what the path begins with"),
        ("fault" = Option<String>, Query, description = "whose fault: `backend`, `client` or `proxy`"),
        ("status" = Option<String>, Query, example = "5xx", description = "the status: `404`, `5xx`, `500-503`, or several"),
        ("slower_than" = Option<String>, Query, example = "500ms", description = "how long it took at least"),
    ),
    responses(
        (
            status = 200, description = "a stream of events: `request`, as the access log tells it, and `lagged`",
            body = String, content_type = "text/event-stream",
        ),
    ),
)]
pub(crate) async fn requests(
    State(state): State<AdminState>,
    written: Written,
) -> Result<Response, ApiError> {
    let parameters = Parameters::read(written, &PARAMETERS)?;
    let filter = filter(&parameters, &state.published.load().routing)?;
    let (outlet, response) = state.streams.open()?;
    let shown = state.tail.show_to(filter, Box::new(outlet));
    shown.map_err(|error| ApiError::Unavailable(error.to_string()))?;
    Ok(response)
}

fn filter(parameters: &Parameters, routing: &RoutingSnapshot) -> Result<RequestFilter, ApiError> {
    let flags = routing.flags.iter().map(|flag| flag.name.as_str());
    let groups = routing.groups.iter().map(|(_, group)| group.name.as_str());
    let routes = routing.routes.iter().map(|(_, route)| &*route.label);
    let backends = routing.backends.iter().map(|backend| backend.name.as_str());
    let faults = [Fault::Backend, Fault::Client, Fault::Proxy].map(Fault::as_str);
    Ok(RequestFilter {
        flag: parameters.one_of("flag", flags)?,
        variant: parameters.one_of("variant", Variant::ALL.map(Variant::as_str))?,
        group: parameters.one_of("group", groups.chain([DEFAULT_GROUP]))?,
        route: parameters.one_of("route", routes)?,
        backend: parameters.one_of("backend", backends)?,
        fault: parameters.one_of("fault", faults)?,
        method: parameters.text("method").map(str::to_owned),
        path: parameters.text("path").map(str::to_owned),
        status: parameters.statuses("status")?,
        slower_than: parameters.span("slower_than")?,
    })
}

impl Onlooker for Outlet {
    fn show(&mut self, line: &str) {
        self.offer(&Event::of_json("request", line.to_owned()));
    }

    fn lost(&mut self, requests: u64) {
        self.offer(&Event::named("lagged", &json!({ "missed": requests })));
    }

    fn is_gone(&self) -> bool {
        self.is_closed()
    }
}
