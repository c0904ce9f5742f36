//! What ratings decide, where some of those who rate lie.

use super::*;
use crate::domain::judge::verdict::Action;

/// Numbers from a seed (Knuth's MMIX generator).
struct Draw(u64);

impl Draw {
    fn below(&mut self, share: f64) -> bool {
        let Self(state) = self;
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((*state >> 40) as f64) < share * (1_u64 << 24) as f64
    }

    /// An honest rating of something good, 4.3 on average.
    fn good(&mut self) -> usize {
        match (self.below(0.6), self.below(0.6), self.below(0.6)) {
            (true, ..) => 4,
            (false, true, _) => 3,
            (false, false, true) => 2,
            (false, false, false) => usize::from(self.below(0.5)),
        }
    }
}

/// Judges so many seconds, in each of which one caller of canary and `stable` of stable rate; says whether it
/// is taken back, and when.
fn judged(
    settings: SequentialSettings,
    seed: u64,
    (seconds, stable): (i64, u64),
    canary: impl Fn(&mut Draw) -> usize,
) -> Option<i64> {
    let mut draw = Draw(seed);
    let mut judge = SequentialJudge::new(settings, 1.0);
    (0..seconds).find(|number| {
        let mut arms = PerVariant::<ArmTick>::default();
        arms.canary.ratings[canary(&mut draw)] += 1;
        for _ in 0..stable {
            arms.stable.ratings[draw.good()] += 1;
        }
        let weight = 1.0 / (1 + stable) as f64;
        let strata = vec![StratumTick {
            group: 0,
            weight,
            arms,
        }];
        let tick = Tick {
            number: *number,
            exposed: weight,
            exposed_next: Some(1.0),
            strata,
            ..Tick::default()
        };
        judge.observe(&tick).action == Action::Rollback
    })
}

#[test]
fn one_rater_in_five_who_says_the_worst_takes_nothing_back_alone() {
    let dishonest = |draw: &mut Draw| if draw.below(0.2) { 0 } else { draw.good() };
    let mut believed = 0;
    for seed in 0..30 {
        for stable in [1, 9] {
            let settings = Sensitivity::Normal.settings();
            let found = judged(settings.clone(), seed, (700, stable), dishonest);
            assert_eq!(found, None, "seed {seed}, {stable} of stable");
            let mut credulous = settings;
            credulous.tolerated.ratings_dishonest = 0.0;
            let found = judged(credulous, seed, (700, stable), dishonest);
            believed += u32::from(found.is_some());
        }
    }
    assert!(believed > 40, "the same without that: {believed} of 60");
}

#[test]
fn one_rater_in_five_who_says_the_best_saves_no_bad_canary() {
    for seed in 0..30 {
        let bad = |draw: &mut Draw| match draw.below(0.2) {
            true => 4,
            false => usize::from(draw.below(0.3)),
        };
        for stable in [1, 9] {
            let settings = Sensitivity::Normal.settings();
            let found = judged(settings, seed, (300, stable), bad);
            let at = found.unwrap_or(i64::MAX);
            assert!((19..250).contains(&at), "seed {seed}, {stable}: {at}");
        }
    }
}
