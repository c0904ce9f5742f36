//! How a backend behaves: how long it takes to answer, and with what.

use std::f64::consts::TAU;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::domain::evidence::{Failure, Outcome, OutcomeClass};

/// The normal deviate above which an answer is among the slowest twentieth.
const SLOWEST_TWENTIETH: f64 = 1.644_853_626_951_472_7;

/// How a backend behaves. The shares exclude each other and add up to 1 at most; what is left of
/// them are good answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// The median of the time it takes to answer.
    pub median: Duration,
    /// The spread of that time: the standard deviation of its logarithm.
    pub sigma: f64,
    /// How much longer still the slowest twentieth takes, which is what a p99 is part of; 1 for
    /// no longer than the spread says.
    pub tail_factor: f64,
    /// The share of answers that are a 500, 0 to 1.
    pub failures: f64,
    /// The share of answers that break off in the body, 0 to 1.
    pub cut_short: f64,
    /// The share of answers that are no HTTP at all, 0 to 1.
    pub no_http: f64,
}

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was asked for.
    Good,
    /// A 500.
    Failure,
    /// A good head, and less of a body than it promises.
    CutShort,
    /// Bytes that are no HTTP.
    NoHttp,
}

/// One answer, and when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// What the answer is.
    pub answer: Answer,
    /// How long it takes.
    pub delay: Duration,
}

impl Behaviour {
    /// A backend as it should be: 5 ms, hardly a failure.
    pub const HEALTHY: Self = Self {
        median: Duration::from_millis(5),
        sigma: 0.3,
        tail_factor: 1.0,
        failures: 0.003,
        cut_short: 0.0,
        no_http: 0.0,
    };

    /// Draws the answer to one request.
    pub fn draw(&self, random: &mut Xoshiro256PlusPlus) -> Drawn {
        // Box and Muller (1958): a normal deviate from two even ones.
        let (u, v): (f64, f64) = (random.random(), random.random());
        let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos();
        let tail = match normal > SLOWEST_TWENTIETH {
            true => self.tail_factor,
            false => 1.0,
        };
        Drawn {
            answer: self.answer(random.random()),
            delay: self.median.mul_f64((self.sigma * normal).exp() * tail),
        }
    }

    /// The answer at a place from 0 to 1.
    fn answer(&self, mut place: f64) -> Answer {
        let shares = [
            (self.failures, Answer::Failure),
            (self.cut_short, Answer::CutShort),
            (self.no_http, Answer::NoHttp),
        ];
        for (share, answer) in shares {
            if place < share {
                return answer;
            }
            place -= share;
        }
        Answer::Good
    }
}

impl Drawn {
    /// What the proxy sees of it.
    pub const fn outcome(self) -> Outcome {
        let (class, has_head) = match self.answer {
            Answer::Good => (OutcomeClass::Success, true),
            Answer::Failure => (OutcomeClass::BackendFailure(Failure::Status), true),
            Answer::CutShort => (OutcomeClass::BackendFailure(Failure::CutBody), true),
            Answer::NoHttp => (OutcomeClass::BackendFailure(Failure::Reset), false),
        };
        Outcome {
            class,
            head_latency: if has_head { Some(self.delay) } else { None },
            bytes: None,
            content_type: None,
        }
    }
}
