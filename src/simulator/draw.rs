//! Draws from the distributions that worlds are made of.
//!
//! Counts of many requests are drawn as one number each, so that a tick of a million requests costs no
//! more than one of a thousand.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Binomial, Distribution, Gamma, Poisson, StandardNormal};

/// A normal deviate: mean 0, standard deviation 1.
pub(super) fn normal(random: &mut Xoshiro256PlusPlus) -> f64 {
    random.sample(StandardNormal)
}

/// How many of independent events happen where `mean` are expected.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count drawn as a float is whole and not negative"
)]
pub(super) fn poisson(mean: f64, random: &mut Xoshiro256PlusPlus) -> u64 {
    // Not a mean at all, or none: nothing happens.
    Poisson::new(mean).map_or(0, |counts| counts.sample(random) as u64)
}

/// How many of `trials` come out so, each with this probability; one beyond 0 to 1 counts as the nearer.
pub(super) fn binomial(trials: u64, probability: f64, random: &mut Xoshiro256PlusPlus) -> u64 {
    if trials == 0 || probability <= 0.0 {
        return 0;
    }
    Binomial::new(trials, probability.min(1.0)).map_or(0, |counts| counts.sample(random))
}

/// A positive number with mean 1; the smaller the shape, the more of them are near 0 and the larger
/// the few others.
pub(super) fn gamma_of_mean_1(shape: f64, random: &mut Xoshiro256PlusPlus) -> f64 {
    Gamma::new(shape, shape.recip()).map_or(1.0, |numbers| numbers.sample(random))
}

/// The share of normal deviates below `z`.
pub(super) fn normal_below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Checks a mean against what is expected, within five standard errors of it.
    fn assert_mean(draw: impl Fn(&mut Xoshiro256PlusPlus) -> f64, mean: f64, deviation: f64) {
        const DRAWS: u32 = 20_000;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let sum: f64 = (0..DRAWS).map(|_| draw(&mut random)).sum();
        let error = sum / f64::from(DRAWS) - mean;
        let allowed = 5.0 * deviation / f64::from(DRAWS).sqrt();
        assert!(error.abs() < allowed, "{error} above {allowed}");
    }

    #[test]
    fn means_are_what_was_asked() {
        assert_mean(|random| poisson(30.0, random) as f64, 30.0, 30_f64.sqrt());
        assert_mean(
            |random| binomial(50, 0.1, random) as f64,
            5.0,
            4.5_f64.sqrt(),
        );
        assert_mean(|random| gamma_of_mean_1(0.1, random), 1.0, 10_f64.sqrt());
        assert_mean(normal, 0.0, 1.0);
    }

    #[test]
    fn what_cannot_happen_does_not() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        assert_eq!(poisson(0.0, &mut random), 0);
        assert_eq!(binomial(9, 0.0, &mut random), 0);
        assert_eq!(binomial(0, 0.5, &mut random), 0);
        assert_eq!(binomial(9, 1.5, &mut random), 9);
    }

    #[test]
    fn shares_of_the_normal_are_those_of_the_books() {
        for (z, share) in [(0.0, 0.5), (2.326_347_874, 0.99), (-1.281_551_566, 0.1)] {
            assert!((normal_below(z) - share).abs() < 1e-9);
        }
    }
}
