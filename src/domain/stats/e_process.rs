//! Evidence that may be looked at after every tick.
//!
//! A test that gains or loses on each tick by a factor whose mean is at most 1 under its hypothesis
//! is an *e-process*; by Ville's inequality (1939) the chance that it *ever* reaches `1 / alpha` is
//! at most `alpha`, however often one looks (Waudby-Smith and Ramdas 2024). What begins long after
//! the test would first have to win back what was lost until then. So each alternative keeps
//!
//! ```text
//! S <- (S + w_t) exp(min(x_t, cap))
//! ```
//!
//! the mean over all starting times of the evidence collected since, weighted with masses `w_t`
//! laid down in advance that sum to at most 1 (Shin, Ramdas and Rinaldo 2022): that is an
//! e-process again. The cap keeps a single tick from deciding; lowering a factor cannot break
//! its bound. The evidence of the mixture is the mean over the alternatives.

use serde::{Deserialize, Serialize};

use crate::domain::stats::log_space::{self, LogValue, log_add_exp, log_mean_exp};

/// Evidence against one hypothesis, mixed over alternatives and over when a change began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartMixture {
    /// `ln S` of each alternative.
    #[serde(with = "log_space::stored")]
    log_s: Vec<f64>,
    /// The same without a cap; empty where what the cap holds back is lost.
    #[serde(
        with = "log_space::stored",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    log_uncapped: Vec<f64>,
    /// `ln` of the mean of `S`, as of the last step.
    log_evidence: LogValue,
}

impl StartMixture {
    /// A mixture over so many alternatives that has seen nothing: no start has any mass yet.
    pub fn new(alternatives: usize) -> Self {
        Self {
            log_s: vec![f64::NEG_INFINITY; alternatives],
            log_uncapped: Vec::new(),
            log_evidence: LogValue::ZERO,
        }
    }

    /// How many alternatives there are.
    pub fn alternatives(&self) -> usize {
        self.log_s.len()
    }

    /// Takes in a tick: the mass of "the change begins now", and a log e-value for each alternative.
    pub fn step(&mut self, mass: f64, log_e_values: &[f64], cap: f64) {
        let log_mass = log_mass(mass);
        for (log_s, log_e) in self.log_s.iter_mut().zip(log_e_values) {
            *log_s = log_add_exp(*log_s, log_mass) + log_e.min(cap);
        }
        self.log_evidence = LogValue(log_mean_exp(&self.log_s));
    }

    /// The same, and what the cap holds back is not lost: in ticks in which it `counts`, each alternative gains
    /// what it was held back before, up to the cap again.
    ///
    /// Whichever those ticks are, no alternative is ever above what it would be without a cap, which is an
    /// e-process; so the bound holds.
    pub fn step_holding_back(&mut self, mass: f64, log_e_values: &[f64], cap: f64, counts: bool) {
        if self.log_uncapped.len() != self.log_s.len() {
            self.log_uncapped.clone_from(&self.log_s);
        }
        let log_mass = log_mass(mass);
        let mixtures = self.log_s.iter_mut().zip(&mut self.log_uncapped);
        for ((log_s, log_uncapped), log_e) in mixtures.zip(log_e_values) {
            let grown = log_add_exp(*log_s, log_mass);
            *log_uncapped = log_add_exp(*log_uncapped, log_mass) + log_e;
            *log_s = match counts {
                true => log_uncapped.min(grown + cap),
                false => grown + log_e.min(cap),
            };
        }
        self.log_evidence = LogValue(log_mean_exp(&self.log_s));
    }

    /// The logarithm of the evidence so far; minus infinity before any mass was laid down.
    pub const fn log_evidence(&self) -> f64 {
        self.log_evidence.0
    }
}

/// `ln` of a mass that may be nothing.
fn log_mass(mass: f64) -> f64 {
    if mass > 0.0 {
        mass.ln()
    } else {
        f64::NEG_INFINITY
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_evidence_is_the_mean_over_starts_and_alternatives() {
        let mut mixture = StartMixture::new(2);
        assert!(mixture.log_evidence().is_infinite());
        mixture.step(0.5, &[2_f64.ln(), 3_f64.ln()], 9.0);
        mixture.step(0.25, &[4_f64.ln(), 1_f64.ln()], 9.0);
        // (0.5 * 2 + 0.25) * 4 and (0.5 * 3 + 0.25) * 1.
        assert!((mixture.log_evidence() - (5.0 + 1.75_f64).ln() + 2_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn one_tick_gains_at_most_the_cap() {
        let mut mixture = StartMixture::new(1);
        mixture.step(1.0, &[50.0], 0.6);
        assert!((mixture.log_evidence() - 0.6).abs() < 1e-12);
    }

    #[test]
    fn a_late_change_need_not_win_back_what_was_lost() {
        let mut mixture = StartMixture::new(1);
        mixture.step(0.5, &[-1000.0], 1.0);
        for _ in 0..20 {
            mixture.step(0.01, &[0.5], 1.0);
        }
        assert!(mixture.log_evidence() > 0.0);
    }

    #[test]
    fn what_was_held_back_counts_later_where_it_may() {
        let evidence_after = |counts: [bool; 4]| {
            let mut mixture = StartMixture::new(1);
            for (tick, counts) in (0..).zip(counts) {
                let (mass, gain) = if tick == 0 { (1.0, 1.5) } else { (0.0, 0.0) };
                mixture.step_holding_back(mass, &[gain], 0.6, counts);
            }
            mixture.log_evidence()
        };
        assert!((evidence_after([false; 4]) - 0.6).abs() < 1e-12);
        assert!((evidence_after([false, true, false, false]) - 1.2).abs() < 1e-12);
        assert!(
            (evidence_after([true; 4]) - 1.5).abs() < 1e-12,
            "no more than there was"
        );
    }

    proptest! {
        #[test]
        fn nothing_held_back_counts_twice(
            steps in prop::collection::vec((0.0..0.1_f64, -3.0..3.0_f64, any::<bool>()), 1..40),
        ) {
            let (mut held, mut uncapped) = (StartMixture::new(1), StartMixture::new(1));
            let mut capped = StartMixture::new(1);
            for (mass, x, counts) in steps {
                held.step_holding_back(mass, &[x], 0.6, counts);
                uncapped.step(mass, &[x], f64::INFINITY);
                capped.step(mass, &[x], 0.6);
                prop_assert!(held.log_evidence() <= uncapped.log_evidence() + 1e-9);
                prop_assert!(held.log_evidence() >= capped.log_evidence() - 1e-9);
            }
        }

        /// A fair coin, all paths of eight ticks: the mean of the evidence is the mass laid down.
        #[test]
        fn the_mean_of_the_evidence_is_at_most_the_mass(gain in 0.01..0.95_f64, late in 0.0..0.06_f64) {
            let ticks = 8;
            let mut mean = 0.0;
            for path in 0..1_u32 << ticks {
                let mut mixture = StartMixture::new(1);
                for tick in 0..ticks {
                    let won = path >> tick & 1 == 1;
                    let factor = if won { 1.0 + gain } else { 1.0 - gain };
                    let mass = if tick == 0 { 0.5 } else { late };
                    mixture.step(mass, &[factor.ln()], 0.6);
                }
                mean += mixture.log_evidence().exp() / f64::from(1 << ticks);
            }
            prop_assert!(mean <= 0.5 + f64::from(ticks - 1) * late + 1e-9, "{mean}");
        }

        #[test]
        fn what_is_stored_is_read_back_to_the_bit(
            steps in prop::collection::vec((0.0..0.1_f64, -3.0..3.0_f64), 0..9),
        ) {
            let mut mixture = StartMixture::new(2);
            for (mass, x) in steps {
                mixture.step(mass, &[x, -x], 0.6);
            }
            let stored = serde_json::to_string(&mixture).unwrap();
            prop_assert_eq!(serde_json::from_str::<StartMixture>(&stored).unwrap(), mixture);
        }
    }
}
