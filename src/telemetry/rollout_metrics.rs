//! What is exported of flags and rollouts.

use crate::domain::rollout::Phase;
use crate::telemetry::family::Family;
use crate::telemetry::samples::{RolloutSample, WeightSample};

pub(crate) fn weights(samples: &[WeightSample]) -> Vec<Family> {
    let mut family = Family::gauge(
        "serin_flag_weight_ratio",
        "Share of a group's callers that get the canary, 0 to 1; group default is everyone else",
    );
    for sample in samples {
        family.add(
            &[("flag", &sample.flag), ("group", &sample.group)],
            sample.ratio,
        );
    }
    vec![family]
}

pub(crate) fn rollouts(samples: &[RolloutSample]) -> Vec<Family> {
    let mut phases = Family::gauge(
        "serin_rollout_phase",
        "1 for the phase that a flag's rollout is in, else 0",
    );
    let mut stages = Family::gauge(
        "serin_rollout_stage",
        "Stage of a flag's rollout, counted from 1",
    );
    let mut evidence = Family::gauge(
        "serin_judge_evidence",
        "By check, how much of the evidence that a rollback needs is there; at 1 it is enough",
    );
    for sample in samples {
        for (check, amount) in &sample.evidence {
            evidence.add(&[("flag", &sample.flag), ("check", check)], *amount);
        }
        for phase in Phase::WORDS {
            let is_in = f64::from(u8::from(phase == sample.phase));
            phases.add(&[("flag", &sample.flag), ("phase", phase)], is_in);
        }
        stages.add_count(&[("flag", &sample.flag)], sample.stage as u64);
    }
    vec![phases, stages, evidence]
}
