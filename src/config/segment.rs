//! Groups that are learned segments.
//!
//! Several groups are segments of one model with features from one place, so what was read is kept
//! while the configuration is understood, and shared: a table of a million callers is there once.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use http::HeaderName;

use crate::domain::matcher::segment::SegmentMatcher;
use crate::domain::segment::{
    CallerTable, Classifier, Columns, FeatureSource, FeatureTable, SegmentIndex, SegmentModel,
};

use crate::config::document::{FeaturesDocument, SegmentDocument};
use crate::config::group::ReadFile;
use crate::config::report::{AS_WRITTEN, Problem, Report};
use crate::config::suggest;
use crate::config::text::{NonEmpty, OwnHeader};
use crate::config::written::{Named, Placed, Written};

/// Of a model and a table.
type Paths = [String; 2];

/// Reads what groups of learned segments name.
pub(super) struct SegmentReader<'a> {
    read_file: ReadFile<'a>,
    report: &'a Report,
    /// Whether there are peers whose headers are believed.
    trusts_peers: bool,
    /// Models by path; none where one is of no use, which is reported.
    models: RefCell<Vec<(String, Option<Arc<SegmentModel>>)>>,
    /// What classifies by a table, by the paths of model and table.
    classifiers: RefCell<Vec<(Paths, Option<Arc<Classifier>>)>>,
}

impl<'a> SegmentReader<'a> {
    pub(super) const fn new(
        read_file: ReadFile<'a>,
        report: &'a Report,
        trusts_peers: bool,
    ) -> Self {
        Self {
            read_file,
            report,
            trusts_peers,
            models: RefCell::new(Vec::new()),
            classifiers: RefCell::new(Vec::new()),
        }
    }

    /// Understands a matcher; one with problems is none.
    pub(super) fn matcher(&self, document: &SegmentDocument) -> Option<SegmentMatcher> {
        let model = self.model(&document.model)?;
        let segment = self.segment(&model, &document.name);
        let unknown = match &document.default {
            Some(name) => Some(self.segment(&model, name)?),
            None => None,
        };
        let classifier = self.classifier(&model, document)?;
        Some(SegmentMatcher {
            classifier,
            segment: segment?,
            unknown,
        })
    }

    fn segment(&self, model: &SegmentModel, name: &Written<NonEmpty>) -> Option<SegmentIndex> {
        let written = &*name.value.0;
        let found = model.index_of(written);
        if found.is_none() {
            let known = model.document().segments.iter().map(|s| &*s.name);
            let problem = Problem::new(format!("the model has no segment `{written}`"));
            let hint = suggest::hint_with_all(written, known).unwrap_or_default();
            self.report.add(name.place, problem.hint(hint));
        }
        found
    }

    fn model(&self, path: &Written<NonEmpty>) -> Option<Arc<SegmentModel>> {
        let name = &path.value.0;
        let known = self
            .models
            .borrow()
            .iter()
            .find(|(known, _)| known == name)
            .cloned();
        if let Some((_, model)) = known {
            return model;
        }
        let model = self
            .read(path)
            .and_then(|text| match SegmentModel::parse(&text) {
                Ok(model) => Some(Arc::new(model)),
                Err(error) => {
                    let problem = Problem::new(format!("`{name}` {error}"));
                    let hint = "train one by `serin segment train`";
                    self.report.add(path.place, problem.hint(hint));
                    None
                }
            });
        self.models.borrow_mut().push((name.clone(), model.clone()));
        model
    }

    fn classifier(
        &self,
        model: &Arc<SegmentModel>,
        document: &SegmentDocument,
    ) -> Option<Arc<Classifier>> {
        let made = |source| {
            Arc::new(Classifier {
                model: Arc::clone(model),
                source,
            })
        };
        match &document.features {
            FeaturesDocument::Headers(headers) => {
                let names = self.headers(model, headers)?;
                Some(made(FeatureSource::Headers(names)))
            }
            FeaturesDocument::Claims(claims) => {
                let claims = self.each_feature(model, claims, ("claim", "…"))?;
                let names = claims.iter().map(|name| name.0.as_str().into());
                Some(made(FeatureSource::Claims(names.collect())))
            }
            FeaturesDocument::Table(path) => {
                let paths = [&document.model, path].map(|path| path.value.0.clone());
                let read = self.classifiers.borrow();
                let known = read.iter().find(|(known, _)| *known == paths).cloned();
                drop(read);
                if let Some((_, classifier)) = known {
                    return classifier;
                }
                let table = self.table(model, path);
                let classifier = table.map(|table| made(FeatureSource::Table(Arc::new(table))));
                self.classifiers
                    .borrow_mut()
                    .push((paths, classifier.clone()));
                classifier
            }
        }
    }

    fn table(&self, model: &SegmentModel, path: &Written<NonEmpty>) -> Option<CallerTable> {
        let text = self.read(path)?;
        let name = &path.value.0;
        let refuse = |problem: String, hint: &str| {
            let problem = Problem::new(format!("`{name}`: {problem}"));
            self.report.add(path.place, problem.hint(hint));
            None
        };
        let features = model.feature_names();
        let columns = Columns {
            features: Some(&features),
            ..Columns::default()
        };
        let table = match FeatureTable::read(&text, &columns) {
            Ok(table) => table,
            Err(error) => {
                return refuse(
                    error.to_string(),
                    "each row has a key and the model's features",
                );
            }
        };
        match CallerTable::new(table, model) {
            Ok(table) => Some(table),
            Err(error) => refuse(
                error.to_string(),
                "each row has a key and the model's features",
            ),
        }
    }

    /// The header of each feature, in the model's order.
    fn headers(
        &self,
        model: &SegmentModel,
        section: &Placed<Named<NonEmpty, Written<OwnHeader>>>,
    ) -> Option<Box<[HeaderName]>> {
        if !self.trusts_peers {
            let problem =
                "headers with features are believed from trusted proxies only, and there are none";
            let hint = "name your load balancers under `trusted_proxies`";
            self.report
                .add(section.place, Problem::new(problem).hint(hint));
        }
        let names = self.each_feature(model, section, ("header", "x-…"))?;
        let names = names.iter().map(|name| name.0.clone()).collect();
        self.trusts_peers.then_some(names)
    }

    /// What is written for each feature, in the model's order; `kind` is what that is called.
    fn each_feature<'d, T>(
        &self,
        model: &SegmentModel,
        section: &'d Placed<Named<NonEmpty, Written<T>>>,
        (kind, example): (&str, &str),
    ) -> Option<Vec<&'d T>> {
        let features = model.feature_names();
        let mut is_sound = true;
        for entry in &section.value.0 {
            let name = &*entry.name.value.0;
            if !features.contains(&name) {
                is_sound = false;
                let problem = Problem::new(format!("the model has no feature `{name}`"));
                let hint = suggest::hint_with_all(name, features.iter().copied());
                self.report
                    .add(entry.name.place, problem.hint(hint.unwrap_or_default()));
            }
        }
        let mut names = Vec::new();
        for feature in features {
            let entry = section
                .value
                .0
                .iter()
                .find(|entry| entry.name.value.0 == feature);
            match entry {
                Some(entry) => names.extend(entry.value.as_ref().map(|name| &name.value)),
                None if self.report.has_problem_within(section.place) => is_sound = false,
                None => {
                    is_sound = false;
                    let problem =
                        Problem::new(format!("the model's feature `{feature}` has no {kind}"));
                    let hint = format!("add `{feature}: {example}`");
                    self.report.add(section.place, problem.hint(hint));
                }
            }
        }
        (is_sound && names.len() == model.feature_names().len()).then_some(names)
    }

    fn read(&self, path: &Written<NonEmpty>) -> Option<String> {
        match (self.read_file)(Path::new(&path.value.0)) {
            Ok(text) => Some(text),
            Err(error) => {
                let problem = Problem::new(format!("cannot read `{AS_WRITTEN}`: {error}"));
                let hint = "write a path that is absolute or starts at this file";
                self.report
                    .add(path.place, problem.hint(hint).without_value());
                None
            }
        }
    }
}
