//! The settings that a trace's header may change, by their names in the format.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::judge::sequential::{
    Check, LatencyMargin, PerQuantile, Promotion, SequentialSettings, Unit,
};

/// What is written under `params`; what is left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Params {
    unit: Option<Unit>,
    alpha: Option<f64>,
    beta: Option<f64>,
    comp: Option<BTreeMap<String, f64>>,
    grid: Option<Vec<f64>>,
    grid_lo: Option<Vec<f64>>,
    bets: Option<Vec<f64>>,
    start_mass: Option<f64>,
    stage_mass: Option<f64>,
    late_mass: Option<f64>,
    horizon_s: Option<f64>,
    start_first: Option<f64>,
    start_life_s: Option<f64>,
    slots: Option<Vec<f64>>,
    cap_per_s: Option<f64>,
    held_back: Option<bool>,
    err_rel: Option<f64>,
    err_abs: Option<f64>,
    c4_rel: Option<f64>,
    size_rel: Option<f64>,
    lat_shift: Option<Shifts>,
    fb_floor: Option<f64>,
    fb_rel: Option<f64>,
    fb_goal: Option<f64>,
    fb_min: Option<u64>,
    err_rel_promote: Option<f64>,
    risk: Option<f64>,
    abs_min: Option<f64>,
    abs_max: Option<f64>,
    abs_share: Option<f64>,
    lat_promote: Option<Vec<(f64, i32)>>,
    min_s: Option<f64>,
    settle_s: Option<f64>,
    min_n: Option<u64>,
    min_callers: Option<u64>,
    suspicious: Option<f64>,
    decay: Option<f64>,
    warm_n: Option<f64>,
    keep_n: Option<f64>,
    /// `null` is no goal at all.
    #[serde(deserialize_with = "some")]
    avg_ms_goal: Option<Option<f64>>,
    alpha_srm: Option<f64>,
    grid_srm: Option<Vec<f64>>,
    // From here on additions of this program's own to the format.
    ctype_rel: Option<f64>,
    ctype_rare: Option<f64>,
    fb_raters: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fb_dishonest: Option<f64>,
    lat_slack_ms: Option<f64>,
    abs_for_all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    err_max_alone: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    err_max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_ms_max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_group: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Shifts {
    p50: i32,
    p90: i32,
    p99: i32,
}

/// Takes over a value that is written.
fn set<T>(setting: &mut T, written: Option<T>) {
    if let Some(written) = written {
        *setting = written;
    }
}

impl Params {
    /// Puts what is written into settings.
    ///
    /// # Errors
    ///
    /// What is written cannot be judged with; the text says which of it, and what would have been right.
    pub(super) fn apply(self, settings: &mut SequentialSettings) -> Result<(), String> {
        self.check()?;
        if let Some(comp) = &self.comp {
            apply_shares(comp, settings)?;
        }
        set(&mut settings.unit, self.unit);
        set(&mut settings.alpha, self.alpha);
        set(&mut settings.beta, self.beta);
        set(&mut settings.alpha_split, self.alpha_srm);
        set(&mut settings.cap_per_second, self.cap_per_s);
        set(&mut settings.counts_held_back, self.held_back);
        set(&mut settings.reference.decay, self.decay);
        set(&mut settings.reference.samples_min, self.warm_n);
        set(&mut settings.reference.samples_kept, self.keep_n);
        set(&mut settings.reference.content_type_rare, self.ctype_rare);
        set(&mut settings.groups, self.groups.map(Some));
        set(&mut settings.finds_one_group, self.one_group);
        self.apply_tolerated(settings);
        self.apply_promotion(settings);
        let prior = &mut settings.prior;
        set(&mut prior.rollout, self.start_mass);
        set(&mut prior.stage, self.stage_mass);
        set(&mut prior.late, self.late_mass);
        set(&mut prior.horizon_seconds, self.horizon_s);
        set(&mut prior.start, self.start_first);
        set(&mut prior.start_seconds, self.start_life_s);
        let grids = &mut settings.grids;
        set(&mut grids.harm, self.grid);
        set(&mut grids.harmless, self.grid_lo);
        set(&mut grids.stakes, self.bets);
        set(&mut grids.split, self.grid_srm);
        Ok(())
    }

    fn apply_tolerated(&self, settings: &mut SequentialSettings) {
        let tolerated = &mut settings.tolerated;
        set(&mut tolerated.errors_relative, self.err_rel);
        set(&mut tolerated.errors_absolute, self.err_abs);
        set(&mut tolerated.client_errors_relative, self.c4_rel);
        set(&mut tolerated.size_relative, self.size_rel);
        set(&mut tolerated.content_type_relative, self.ctype_rel);
        set(&mut tolerated.raters_min, self.fb_raters);
        set(&mut tolerated.ratings_dishonest, self.fb_dishonest);
        set(&mut tolerated.latency_slack_ms, self.lat_slack_ms);
        set(&mut tolerated.error_rate_max, self.err_max.map(Some));
        let uncompared = &mut tolerated.uncompared_error_rate_max;
        set(uncompared, self.err_max_alone.map(Some));
        set(
            &mut tolerated.mean_latency_ms_max,
            self.mean_ms_max.map(Some),
        );
        set(&mut tolerated.ratings_relative, self.fb_rel);
        set(&mut tolerated.rating_floor, self.fb_floor);
        if let Some(Shifts { p50, p90, p99 }) = self.lat_shift {
            tolerated.latency_buckets = PerQuantile { p50, p90, p99 };
        }
    }

    fn apply_promotion(&self, settings: &mut SequentialSettings) {
        let promotion = &mut settings.promotion;
        set(&mut promotion.errors_relative, self.err_rel_promote);
        set(&mut promotion.risk, self.risk);
        set(&mut promotion.error_rate_least, self.abs_min);
        set(&mut promotion.error_rate_most, self.abs_max);
        set(&mut promotion.absolute_share, self.abs_share);
        set(&mut promotion.absolute_for_all, self.abs_for_all);
        set(&mut promotion.slots, self.slots.clone());
        set(&mut promotion.seconds_min, self.min_s);
        set(&mut promotion.settle_seconds, self.settle_s);
        set(&mut promotion.requests_min, self.min_n);
        set(&mut promotion.callers_min, self.min_callers);
        set(&mut promotion.suspicious, self.suspicious);
        set(&mut promotion.rating_goal, self.fb_goal);
        set(&mut promotion.ratings_min, self.fb_min);
        set(&mut promotion.mean_latency_ms_goal, self.avg_ms_goal);
        if let Some(margins) = &self.lat_promote {
            let margin = |(exposed_max, buckets): &(f64, i32)| LatencyMargin {
                exposed_max: *exposed_max,
                buckets: *buckets,
            };
            promotion.latency_margins = margins.iter().map(margin).collect();
        }
    }

    /// What would make the formulas say nothing, or nonsense.
    fn check(&self) -> Result<(), String> {
        let is_share = |value: f64| 0.0 < value && value < 1.0;
        let shares = [
            ("alpha", self.alpha),
            ("beta", self.beta),
            ("alpha_srm", self.alpha_srm),
            ("abs_min", self.abs_min),
            ("abs_max", self.abs_max),
            ("abs_share", self.abs_share),
        ];
        for (name, value) in shares {
            if let Some(value) = value.filter(|value| !is_share(*value)) {
                return Err(format!(
                    "params.{name} is {value}, expected above 0 and below 1"
                ));
            }
        }
        type Grid<'a> = (&'a str, &'a Option<Vec<f64>>, fn(f64) -> bool, &'a str);
        let grids: [Grid<'_>; 5] = [
            ("grid", &self.grid, |g| g > 1.0, "numbers above 1"),
            (
                "grid_lo",
                &self.grid_lo,
                |g| 0.0 < g && g < 1.0,
                "numbers between 0 and 1",
            ),
            (
                "bets",
                &self.bets,
                |g| 0.0 < g && g < 1.0,
                "numbers between 0 and 1",
            ),
            ("grid_srm", &self.grid_srm, |g| g > 0.0, "numbers above 0"),
            ("slots", &self.slots, |g| g > 0.0, "numbers above 0"),
        ];
        for (name, values, is_right, right) in grids {
            let Some(values) = values else { continue };
            if values.is_empty() || !values.iter().all(|value| is_right(*value)) {
                return Err(format!("params.{name} is {values:?}, expected {right}"));
            }
        }
        if self.lat_promote.as_ref().is_some_and(Vec::is_empty) {
            return Err("params.lat_promote is empty, expected pairs of share and buckets".into());
        }
        Ok(())
    }
}

/// `comp` replaces all shares: a check that it does not name is off.
fn apply_shares(
    comp: &BTreeMap<String, f64>,
    settings: &mut SequentialSettings,
) -> Result<(), String> {
    for check in Check::ALL {
        settings.shares[check] = comp.get(check.key()).copied().unwrap_or(0.0);
    }
    if let Some((name, share)) = comp.iter().find(|(_, share)| **share < 0.0) {
        return Err(format!(
            "params.comp.{name} is {share}, expected a share of 0 or more"
        ));
    }
    Ok(())
}

/// Takes a field that is there, even if it is `null`.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl From<&SequentialSettings> for Params {
    /// All of them, so that a replay judges as the judge did, whatever the defaults are by then.
    fn from(settings: &SequentialSettings) -> Self {
        let SequentialSettings {
            tolerated,
            promotion,
            reference,
            prior,
            grids,
            ..
        } = settings;
        let on = settings.shares.iter().filter(|(_, share)| **share > 0.0);
        let PerQuantile { p50, p90, p99 } = tolerated.latency_buckets;
        Self {
            unit: Some(settings.unit),
            alpha: Some(settings.alpha),
            beta: Some(settings.beta),
            comp: Some(
                on.map(|(check, share)| (check.key().to_owned(), *share))
                    .collect(),
            ),
            grid: Some(grids.harm.clone()),
            grid_lo: Some(grids.harmless.clone()),
            bets: Some(grids.stakes.clone()),
            start_mass: Some(prior.rollout),
            stage_mass: Some(prior.stage),
            late_mass: Some(prior.late),
            horizon_s: Some(prior.horizon_seconds),
            start_first: Some(prior.start),
            start_life_s: Some(prior.start_seconds),
            cap_per_s: Some(settings.cap_per_second),
            held_back: Some(settings.counts_held_back),
            err_rel: Some(tolerated.errors_relative),
            err_abs: Some(tolerated.errors_absolute),
            c4_rel: Some(tolerated.client_errors_relative),
            size_rel: Some(tolerated.size_relative),
            lat_shift: Some(Shifts { p50, p90, p99 }),
            fb_floor: Some(tolerated.rating_floor),
            fb_rel: Some(tolerated.ratings_relative),
            decay: Some(reference.decay),
            warm_n: Some(reference.samples_min),
            keep_n: Some(reference.samples_kept),
            alpha_srm: Some(settings.alpha_split),
            grid_srm: Some(grids.split.clone()),
            ctype_rel: Some(tolerated.content_type_relative),
            ctype_rare: Some(reference.content_type_rare),
            fb_raters: Some(tolerated.raters_min),
            fb_dishonest: Some(tolerated.ratings_dishonest).filter(|share| *share > 0.0),
            lat_slack_ms: Some(tolerated.latency_slack_ms),
            err_max: tolerated.error_rate_max,
            err_max_alone: tolerated.uncompared_error_rate_max,
            mean_ms_max: tolerated.mean_latency_ms_max,
            groups: settings.groups,
            one_group: settings.finds_one_group.then_some(true),
            ..Self::of_promotion(promotion)
        }
    }
}

impl Params {
    /// What a promotion asks for.
    fn of_promotion(promotion: &Promotion) -> Self {
        let margins = promotion.latency_margins.iter();
        Self {
            slots: Some(promotion.slots.clone()),
            fb_goal: Some(promotion.rating_goal),
            fb_min: Some(promotion.ratings_min),
            err_rel_promote: Some(promotion.errors_relative),
            risk: Some(promotion.risk),
            abs_min: Some(promotion.error_rate_least),
            abs_max: Some(promotion.error_rate_most),
            abs_share: Some(promotion.absolute_share),
            abs_for_all: Some(promotion.absolute_for_all),
            lat_promote: Some(
                margins
                    .map(|margin| (margin.exposed_max, margin.buckets))
                    .collect(),
            ),
            min_s: Some(promotion.seconds_min),
            settle_s: Some(promotion.settle_seconds),
            min_n: Some(promotion.requests_min),
            min_callers: Some(promotion.callers_min),
            suspicious: Some(promotion.suspicious),
            avg_ms_goal: Some(promotion.mean_latency_ms_goal),
            ..Self::default()
        }
    }
}
