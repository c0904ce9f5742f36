//! Checks beside the judge's own: custom ones, and the condition on which a stage may pass.

mod text;

use std::time::Duration;

use crate::domain::further::template::Placeholder;
use crate::domain::further::{Comparison, CustomCheck, FurtherChecks, Limits, Source, SourceUrl};
use crate::domain::judge::CheckName;

use crate::config::defaults::{
    CUSTOM_CHECKS_MAX, CUSTOM_EVERY, CUSTOM_EVERY_MIN, CUSTOM_MAX_AGE, CUSTOM_TIMEOUT,
    CUSTOM_TIMEOUT_MAX,
};
use crate::config::document::{
    CompareDocument, CustomCheckDocument, HttpJsonDocument, MetricsDocument, RolloutDocument,
};
use crate::config::number::Number;
use crate::config::report::{Problem, Report};
use crate::config::text::Span;
use crate::config::tree::{Node, Place};
use crate::config::written::{Placed, Written};

pub(super) use text::{JsonPointer, Query, UrlTemplate};

/// What custom checks may depend on.
pub(super) struct FurtherReader<'a> {
    /// The Prometheus of `metrics`.
    prometheus: Option<&'a SourceUrl>,
    /// Whether that section has a problem, which may be why there is none.
    is_refused: bool,
    report: &'a Report,
}

impl<'a> FurtherReader<'a> {
    /// A reader beside the section `metrics`, as it was read and as it is written.
    pub(super) fn of(
        metrics: &'a MetricsDocument,
        written: Option<&Node>,
        report: &'a Report,
    ) -> Self {
        let prometheus = metrics.prometheus.as_ref();
        Self {
            prometheus: prometheus.map(|prometheus| &prometheus.url.value),
            is_refused: written.is_some_and(|written| report.has_problem_within(written.place)),
            report,
        }
    }
    /// Understands what a rollout says of further checks.
    pub(super) fn checks(&self, document: &RolloutDocument) -> FurtherChecks {
        let custom = document.checks.custom.as_ref();
        let written = custom.map_or(&[][..], |custom| &custom.value);
        if let Some(custom) = custom.filter(|custom| custom.value.len() > CUSTOM_CHECKS_MAX) {
            let problem = format!("more than {CUSTOM_CHECKS_MAX} custom checks");
            self.add(custom.place, &problem, "combine some of them in one query");
        }
        self.check_names(written);
        let condition = document.release_when.as_ref();
        FurtherChecks {
            custom: written.iter().filter_map(|one| self.check(one)).collect(),
            release_when: condition.map(|condition| condition.value.clone()),
        }
    }

    /// Metrics and findings tell checks apart by their names.
    fn check_names(&self, written: &[Placed<CustomCheckDocument>]) {
        for (place, check) in written.iter().enumerate() {
            let name = &check.value.name;
            let before = written[..place].iter();
            let is_taken = before
                .map(|one| &one.value.name.value)
                .any(|one| *one == name.value);
            let problem = if CheckName::is_built_in(name.value.as_str()) {
                format!("`{}` is the name of a built-in check", name.value)
            } else if is_taken {
                format!("another custom check is named `{}`", name.value)
            } else {
                continue;
            };
            self.add(name.place, &problem, "choose another name");
        }
    }

    fn check(&self, check: &Placed<CustomCheckDocument>) -> Option<CustomCheck> {
        let (place, document) = (check.place, &check.value);
        let source = self.source(document.promql.as_ref(), document.http_json.as_ref());
        let is_silent = document.promql.is_none() && document.http_json.is_none();
        if is_silent && !self.report.has_problem_within(place) {
            let hint = "add `promql:` or `http_json:`";
            self.add(place, "a custom check needs something to ask", hint);
        }
        let limits = self.limits(document.min.as_ref(), document.max.as_ref());
        let is_unlimited = limits == Limits::default() && document.compare.is_none();
        if is_unlimited && !self.report.has_problem_within(place) {
            let hint = "add `min:`, `max:` or `compare:`";
            self.add(place, "a custom check needs a limit", hint);
        }
        let compare = document.compare.as_ref();
        let comparison = compare.and_then(|compare| self.comparison(compare, source.as_ref()));
        let every = self.every(document);
        Some(CustomCheck {
            name: document.name.value.clone(),
            source: source?,
            limits,
            comparison,
            every,
            timeout: self.timeout(document),
            max_age: self.max_age(document, every),
        })
    }

    fn source(
        &self,
        promql: Option<&Written<Query>>,
        http_json: Option<&Placed<HttpJsonDocument>>,
    ) -> Option<Source> {
        if let (Some(_), Some(http_json)) = (promql, http_json) {
            let problem = "`http_json` beside `promql`";
            self.add(http_json.place, problem, "remove one of the two");
        }
        if let Some(query) = promql {
            let Some(server) = self.prometheus else {
                if !self.is_refused {
                    let hint = "add `metrics: { prometheus: { url: \"http://prometheus:9090\" } }` \
                                at the top of the file";
                    self.add(query.place, "there is no Prometheus to ask", hint);
                }
                return None;
            };
            return Some(Source::PromQl {
                server: server.clone(),
                query: query.value.0.clone(),
            });
        }
        let http_json = &http_json?.value;
        Some(Source::HttpJson {
            url: http_json.url.value.0.clone(),
            pointer: http_json.pointer.value.0.clone(),
        })
    }

    fn comparison(
        &self,
        compare: &Placed<CompareDocument>,
        own: Option<&Source>,
    ) -> Option<Comparison> {
        let (place, document) = (compare.place, &compare.value);
        let (min, max) = (document.min_ratio.as_ref(), document.max_ratio.as_ref());
        for ratio in [min, max].into_iter().flatten() {
            if ratio.value.0 < 0.0 {
                self.add(
                    ratio.place,
                    "a ratio is never negative",
                    "write `0.95`, say",
                );
            }
        }
        let ratio = self.limits(min, max);
        if ratio == Limits::default() && !self.report.has_problem_within(place) {
            let hint = "add `min_ratio: 0.95` or `max_ratio: 1.25`";
            self.add(place, "a comparison needs a limit", hint);
        }
        let is_own = document.promql.is_none() && document.http_json.is_none();
        let stable = if is_own {
            let own = own?;
            if !asks_of_variant(own) && !self.report.has_problem_within(place) {
                let problem = "stable would be asked the same as canary";
                let hint = "write `{variant}` into the question, which is `canary` or `stable` \
                            then, or add what to ask of stable as `promql:` or `http_json:`";
                self.add(place, problem, hint);
            }
            own.clone()
        } else {
            self.source(document.promql.as_ref(), document.http_json.as_ref())?
        };
        Some(Comparison { stable, ratio })
    }

    fn limits(&self, min: Option<&Placed<Number>>, max: Option<&Placed<Number>>) -> Limits {
        if let (Some(min), Some(max)) = (min, max)
            && max.value.0 < min.value.0
        {
            let problem = format!("the most is below the least, {}", min.value.0);
            self.add(max.place, &problem, "write a larger number");
        }
        let number = |written: Option<&Placed<Number>>| written.map(|written| written.value.0);
        Limits {
            min: number(min),
            max: number(max),
        }
    }

    /// How often to ask.
    fn every(&self, document: &CustomCheckDocument) -> Duration {
        let written = document.every.as_ref();
        let every = time(written, CUSTOM_EVERY);
        if let Some(written) = written.filter(|_| every < CUSTOM_EVERY_MIN) {
            self.add(
                written.place,
                "that often is more than sources like",
                "write `1s` or more",
            );
        }
        every
    }

    /// How long to wait.
    fn timeout(&self, document: &CustomCheckDocument) -> Duration {
        let written = document.timeout.as_ref();
        let timeout = time(written, CUSTOM_TIMEOUT);
        if let Some(written) = written.filter(|_| timeout > CUSTOM_TIMEOUT_MAX) {
            self.add(
                written.place,
                "that is longer than a minute",
                "write `1m` or less",
            );
        }
        timeout
    }

    /// How old a sample may be.
    fn max_age(&self, document: &CustomCheckDocument, every: Duration) -> Duration {
        let max_age = time(document.max_age.as_ref(), CUSTOM_MAX_AGE);
        if max_age < every {
            let place = document.max_age.as_ref().or(document.every.as_ref());
            let problem = "a sample would be too old before the next one is asked for";
            let hint = "let `max_age` be longer than `every`";
            place
                .iter()
                .for_each(|written| self.add(written.place, problem, hint));
        }
        max_age
    }

    fn add(&self, place: Place, problem: &str, hint: &str) {
        self.report.add(place, Problem::new(problem).hint(hint));
    }
}

/// A time, where one is written.
fn time(written: Option<&Written<Span>>, default: Duration) -> Duration {
    written.map_or(default, |span| span.value.0)
}

/// Whether a question is another one for each arm.
fn asks_of_variant(source: &Source) -> bool {
    match source {
        Source::PromQl { query: text, .. } | Source::HttpJson { url: text, .. } => {
            text.needs(Placeholder::Variant)
        }
    }
}

#[cfg(test)]
mod tests;
