//! The settings that a trace's header may change, by their names in the format.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::judge::sequential::{
    Check, LatencyMargin, PerQuantile, SequentialSettings, Unit,
};

/// What is written under `params`; what is left out stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
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
    avg_ms_goal: Option<f64>,
    alpha_srm: Option<f64>,
    grid_srm: Option<Vec<f64>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
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
        set(&mut settings.reference.decay, self.decay);
        set(&mut settings.reference.samples_min, self.warm_n);
        set(&mut settings.reference.samples_kept, self.keep_n);
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
        set(&mut promotion.slots, self.slots.clone());
        set(&mut promotion.seconds_min, self.min_s);
        set(&mut promotion.settle_seconds, self.settle_s);
        set(&mut promotion.requests_min, self.min_n);
        set(&mut promotion.callers_min, self.min_callers);
        set(&mut promotion.suspicious, self.suspicious);
        set(&mut promotion.rating_goal, self.fb_goal);
        set(&mut promotion.ratings_min, self.fb_min);
        set(
            &mut promotion.mean_latency_ms_goal,
            self.avg_ms_goal.map(Some),
        );
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
