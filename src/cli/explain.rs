//! `serin explain`: where would a request go, and why?

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use serde_json::{Map, Value, json};

use crate::adapters::config_file;
use crate::app;
use crate::cli::exit::{Exit, Unusable};
use crate::cli::remote::RemoteArguments;
use crate::cli::{ConfigArgument, Done};
use crate::domain::rollout::RolloutPlan;
use crate::domain::timestamp::Timestamp;
use crate::proxy::explain::{Known, explain};
use crate::proxy::story::Story;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::clock;
use crate::runtime::pseudonyms::SharedPseudonyms;

/// How long the running one may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    config: ConfigArgument,
    /// What is asked for: a URL, or a path.
    #[arg(value_name = "URL")]
    target: Uri,
    /// The request's method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: Method,
    /// A header field of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The address that the request comes from.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
    /// Ask the running Serin, which goes by what was set since and who was put into groups; the file is
    /// not read.
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    remote: RemoteArguments,
}

impl Explain {
    pub(crate) fn run(self) -> Done {
        let request = self.request()?;
        if self.live {
            return self.ask(&request);
        }
        let loaded = config_file::read(&self.config.config)?;
        let (config, source) = loaded.split(&self.config.config);
        let plans: Vec<Option<RolloutPlan>> = config
            .flags
            .iter()
            .map(|entry| entry.rollout.as_ref().map(|rollout| rollout.plan.clone()))
            .collect();
        let definitions = config.definitions.clone();
        let initial = app::initial(config, &source);
        let routing = initial.routing;
        let known = Known {
            assignments: &CallerAssignments::default(),
            apps: &initial.apps,
            pseudonyms: &SharedPseudonyms::default(),
            now: Timestamp::default(),
            keys: &initial.keys,
            wall_seconds: clock::wall().as_secs(),
            cookie_key: &initial.cookie_key,
        };
        let explanation = match explain(&routing, self.from, request, known) {
            Ok(explanation) => explanation,
            Err(not_routed) => {
                println!("not sent on: {not_routed}");
                return Ok(Exit::Refused);
            }
        };
        let plan = explanation
            .flag
            .and_then(|(flag, _)| plans[flag.0].as_ref());
        let story = Story {
            routing: &routing,
            explanation: &explanation,
            plan,
        };
        let awaited = definitions.awaited_by(explanation.route);
        let note = awaited.map(|flag| {
            format!("flag `{flag}` is not in the file; where it was created at run time, `--live` tells what it does")
        });
        if self.remote.json {
            let mut told = story.to_json();
            if let Some(note) = note {
                told["note"] = json!(note);
            }
            println!("{told:#}");
        } else {
            println!("{}", story.to_text());
            note.iter().for_each(|note| println!("note: {note}"));
        }
        Ok(Exit::Done)
    }

    /// Asks the running one.
    fn ask(&self, request: &Request<()>) -> Done {
        let mut headers = Map::new();
        for (name, value) in request.headers() {
            let value = value
                .to_str()
                .map_err(|_| Unusable(format!("`{name}`: only ASCII can be asked for")))?;
            let values = headers.entry(name.as_str()).or_insert_with(|| json!([]));
            if let Some(values) = values.as_array_mut() {
                values.push(json!(value));
            }
        }
        let target = request.uri();
        let mut asked = json!({
            "method": request.method().as_str(),
            "path": target.path(),
            "query": target.query(),
            "headers": headers,
            "ip": self.from,
        });
        if let Some(authority) = target.authority() {
            asked["host"] = json!(authority.as_str());
        }
        let remote = self.remote.open_within(ANSWER_MAX)?;
        let answer = remote.command(Method::POST, "/api/v1/explain", &asked)?;
        if self.remote.json {
            println!("{answer:#}");
        } else {
            println!("{}", answer["text"].as_str().unwrap_or_default());
        }
        Ok(match &answer["refused"] {
            Value::Null => Exit::Done,
            _ => Exit::Refused,
        })
    }

    fn request(&self) -> anyhow::Result<Request<()>> {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        for field in &self.headers {
            let Some((name, value)) = field.split_once(':') else {
                let problem = format!("`{field}` is not a header field such as `x-user-id: ann`");
                return Err(Unusable(problem).into());
            };
            let name = HeaderName::from_bytes(name.trim().as_bytes())
                .map_err(|_| Unusable(format!("`{name}` is not a header's name")))?;
            let value = HeaderValue::from_str(value.trim())
                .map_err(|_| Unusable(format!("`{value}` is not a header's value")))?;
            request.headers_mut().append(name, value);
        }
        if self.target.authority().is_none() {
            // A path alone is asked of no host in particular.
            let host = HeaderValue::from_static("localhost");
            request.headers_mut().entry(header::HOST).or_insert(host);
        }
        Ok(request)
    }
}
