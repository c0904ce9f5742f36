//! Why a request would go where it would go, in words and as JSON.

use serde_json::{Value, json};

use crate::domain::app::App;
use crate::domain::decision::{Decision, Reason};
use crate::domain::flag::Flag;
use crate::domain::hashing::HashScheme;
use crate::domain::rollout::RolloutPlan;
use crate::domain::routing::RoutingSnapshot;
use crate::domain::weight::Weight;
use crate::proxy::explain::Explanation;

/// An explanation with the names that its places stand for.
pub struct Story<'a> {
    /// What the request would be decided by.
    pub routing: &'a RoutingSnapshot,
    /// Where it would go.
    pub explanation: &'a Explanation,
    /// The plan that moves the flag's weights, if one does.
    pub plan: Option<&'a RolloutPlan>,
}

impl Story<'_> {
    /// In lines for people.
    pub fn to_text(&self) -> String {
        let Self {
            routing,
            explanation,
            ..
        } = self;
        let mut lines = Vec::new();
        let mut line = |title: &str, text: String| lines.push(format!("{title:<9}{text}"));
        line(
            "route",
            routing.routes.get(explanation.route).label.to_string(),
        );
        line("client", explanation.client_ip.to_string());
        let caller = explanation.caller.as_deref().unwrap_or("not known");
        line("caller", format!("{caller}{}", self.memberships()));
        if let Some(app) = &explanation.app {
            line("app", app_in_words(app));
        }
        for story in &explanation.segments {
            let segment = story.segment.as_deref().unwrap_or("none");
            line("segment", format!("{segment}: {}", story.why));
        }
        match explanation.token {
            Some(Ok(())) => line("token", "verified".to_owned()),
            Some(Err(fault)) => line("token", format!("not believed: {fault}")),
            None => {}
        }
        if let Some((flag, decision)) = explanation.flag {
            let flag = routing.flag(flag);
            line("flag", flag.name.to_string());
            if explanation.is_weighed_at_random(routing) {
                line("bucket", "drawn anew for each request".to_owned());
            } else {
                let bucket = decision.bucket();
                line(
                    "bucket",
                    format!("{bucket} of 0..9999, salt `{}`{}", flag.salt, scheme(flag)),
                );
            }
            line("rule", self.rule(decision));
            line("variant", self.variant(decision));
            if let Some(outlook) = self.outlook(decision) {
                line("rollout", outlook);
            }
        }
        line("backend", self.backend());
        lines.join("\n")
    }

    fn backend(&self) -> String {
        let name = |backend| &self.routing.backend(backend).name;
        match self.explanation.backends {
            Some(backends) if self.explanation.is_random(self.routing) => {
                let (canary, stable) = (name(backends.canary), name(backends.stable));
                format!("{canary} for canary, {stable} for stable")
            }
            _ => name(self.explanation.backend).to_string(),
        }
    }

    fn memberships(&self) -> String {
        let names = self.group_names();
        if names.is_empty() {
            ", in no group".to_owned()
        } else {
            format!(", in {}", names.join(", "))
        }
    }

    fn group_names(&self) -> Vec<&str> {
        let groups = self.explanation.groups.iter();
        groups
            .map(|group| self.routing.groups.name(*group).as_str())
            .collect()
    }

    fn rule(&self, decision: Decision) -> String {
        let name = |group| self.routing.groups.name(group);
        if let Some(flag) = self.explanation.drawn_elsewhere() {
            let flag = &self.routing.flag(flag).name;
            return format!("what flag `{flag}` gives is needed, and drawn anew for each request");
        }
        match decision.reason {
            Reason::Disabled => "the flag is off: stable for everyone".to_owned(),
            Reason::RolledBack => "rolled back: stable for everyone".to_owned(),
            Reason::Barred => "an app that may not pass gets no canary".to_owned(),
            Reason::Prerequisite { flag } => {
                let flag = &self.routing.flag(flag).name;
                format!("flag `{flag}` gives it something else than this one needs")
            }
            Reason::Forced { group } => {
                format!(
                    "asked for by the request, which group `{}` may",
                    name(group)
                )
            }
            Reason::Group { group, weight } => format!("group `{}` has {weight}", name(group)),
            Reason::Default { weight } => format!("everyone else has {weight}"),
        }
    }

    fn variant(&self, decision: Decision) -> String {
        let variant = decision.variant;
        if let Some(flag) = self.explanation.drawn_elsewhere() {
            let flag = &self.routing.flag(flag).name;
            return format!("canary at most where flag `{flag}` gives what is needed, else stable");
        }
        let (Reason::Group { weight, .. } | Reason::Default { weight }) = decision.reason else {
            return variant.to_string();
        };
        if self.explanation.is_random(self.routing) {
            return format!("canary for {weight} of such requests, else stable");
        }
        let (bucket, limit) = (decision.bucket(), weight.basis_points());
        let relation = if bucket.is_within(weight) {
            "below"
        } else {
            "not below"
        };
        format!("{variant}, for {bucket} is {relation} {limit} ({weight})")
    }

    /// What the flag's rollout will make of such a request, where weights decide.
    fn outlook(&self, decision: Decision) -> Option<String> {
        let is_weighed = matches!(
            decision.reason,
            Reason::Group { .. } | Reason::Default { .. }
        );
        let is_settled = self.explanation.drawn_elsewhere().is_none();
        let plan = self.plan.filter(|_| is_weighed && is_settled)?;
        Some(self.rollout(plan, decision))
    }

    /// From which stage on such a request gets the canary.
    fn rollout(&self, plan: &RolloutPlan, decision: Decision) -> String {
        let group = match decision.reason {
            Reason::Group { group, .. } => Some(self.routing.groups.name(group)),
            _ => None,
        };
        let stages = plan.stages().len();
        let weight = |stage| plan.weights_of_stage(stage).of(group);
        if self.explanation.is_random(self.routing) {
            let weights: Vec<_> = (0..stages).map(|stage| weight(stage).to_string()).collect();
            return format!("canary for {} as it goes on", weights.join(", "));
        }
        let gets_canary = |stage: &usize| decision.bucket().is_within(weight(*stage));
        let at_the_end = plan.weights_of_success().of(group);
        let is_added_at_the_end = decision.bucket().is_within(at_the_end);
        match (0..stages).find(gets_canary) {
            Some(stage) => {
                let weight: Weight = weight(stage);
                format!(
                    "starts at 0%; canary from stage {} of {stages} on ({weight})",
                    stage + 1
                )
            }
            None if is_added_at_the_end => {
                "starts at 0%; stable until the rollout has succeeded".to_owned()
            }
            None => "starts at 0%; stable even after the rollout has succeeded".to_owned(),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let Self {
            routing,
            explanation,
            ..
        } = self;
        let is_random = explanation.is_random(routing);
        let backend = &routing.backend(explanation.backend).name;
        let flag = explanation.flag.map(|(flag, decision)| {
            let flag: &Flag = routing.flag(flag);
            json!({
                "name": flag.name,
                "variant": if is_random { Value::Null } else { json!(decision.variant) },
                "reason": decision.reason.as_str(),
                "rule": self.rule(decision),
                "salt": flag.salt,
                "hash": flag.hash.as_str(),
                "bucket": if is_random { Value::Null } else { json!(decision.bucket()) },
                "rollout": self.outlook(decision),
            })
        });
        let segments = explanation.segments.iter();
        let segments = segments.map(|story| json!({ "segment": story.segment, "why": story.why }));
        json!({
            "route": routing.routes.get(explanation.route).label,
            "client_ip": explanation.client_ip,
            "caller": explanation.caller,
            "app": explanation.app.as_ref().map(|app| json!({
                "id": app.id,
                "status": app.status,
                "owner": app.profile.owner,
                "attributes": app.profile.attributes,
            })),
            "token": explanation.token.map(|token| match token {
                Ok(()) => "verified".to_owned(),
                Err(fault) => fault.as_str().to_owned(),
            }),
            "groups": self.group_names(),
            "segments": segments.collect::<Value>(),
            "flag": flag,
            "backend": if is_random { Value::Null } else { json!(backend) },
        })
    }
}

/// How keys are hashed, where it is not as usual.
fn scheme(flag: &Flag) -> String {
    match flag.hash {
        HashScheme::Murmur3 => String::new(),
        other => format!(", hash `{}`", other.as_str()),
    }
}

/// What is known of an app: `weather, approved, owner acme, tier gold`.
fn app_in_words(app: &App) -> String {
    let mut text = format!("{}, {}", app.id, app.status);
    if !app.profile.owner.is_empty() {
        text.push_str(&format!(", owner {}", app.profile.owner));
    }
    for (name, value) in &app.profile.attributes {
        text.push_str(&format!(", {name} {value}"));
    }
    text
}
