//! When questions are asked, and that nobody waits for an answer.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Mutex;

use tokio::task::yield_now;

use super::*;
use crate::control::fixtures::planned;
use crate::control::ports::Asking;
use crate::domain::further::template::Template;
use crate::domain::further::{Comparison, Limits, Source, Subject};
use crate::domain::judge::{Assessment, JudgeSettings};
use crate::domain::rollout::Wait;

/// Answers with the next number, and hangs where there is none.
#[derive(Default)]
struct Script {
    numbers: Mutex<VecDeque<f64>>,
    asked: Mutex<Vec<String>>,
    /// Its copies are the questions under way.
    under_way: Arc<()>,
}

impl MetricSource for Script {
    fn ask(&self, question: Question) -> Asking {
        let Subject::HttpJson { url, .. } = question.subject else {
            panic!("{question:?}");
        };
        self.asked.lock().unwrap().push(url.to_string());
        let number = self.numbers.lock().unwrap().pop_front();
        let under_way = Arc::clone(&self.under_way);
        Box::pin(async move {
            let value = match number {
                Some(number) => number,
                None => pending().await,
            };
            drop(under_way);
            let age = Duration::ZERO;
            Ok(Sample { value, age })
        })
    }
}

fn check() -> CustomCheck {
    CustomCheck {
        name: "score".parse().unwrap(),
        source: Source::HttpJson {
            url: Template::read("http://a/{flag}/{stage}/{variant}").unwrap(),
            pointer: String::new(),
        },
        limits: Limits {
            min: Some(4.0),
            max: None,
        },
        comparison: None,
        every: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        max_age: Duration::from_secs(60),
    }
}

fn checks(custom: Vec<CustomCheck>) -> FurtherChecks {
    FurtherChecks {
        custom,
        release_when: None,
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::since_start(Duration::from_secs(seconds))
}

/// What is polled, and the source that is asked.
struct World {
    polling: Polling,
    script: Arc<Script>,
}

impl World {
    fn new(custom: Vec<CustomCheck>, numbers: &[f64]) -> Self {
        let script = Script {
            numbers: Mutex::new(numbers.iter().copied().collect()),
            ..Script::default()
        };
        Self {
            polling: Polling::new(checks(custom)),
            script: Arc::new(script),
        }
    }

    /// Looks at a moment of a stage that counts from another, then lets tasks run.
    async fn look(&mut self, counted_from: u64, now: u64) -> Vec<Finding> {
        let source: Arc<dyn MetricSource> = Arc::<Script>::clone(&self.script);
        let plan = planned("2", &[10, 50]).plan;
        let stage = Stage {
            plan: &plan,
            state: &RolloutState::waiting(Wait::Start, 0),
            judge: &Judge::new(JudgeSettings::default()),
            counted_from: at(counted_from),
            now: at(now),
        };
        let findings = self.polling.look(&stage, &source);
        for _ in 0..5 {
            yield_now().await;
        }
        findings
    }

    fn asked(&self) -> usize {
        self.script.asked.lock().unwrap().len()
    }

    fn under_way(&self) -> usize {
        Arc::strong_count(&self.script.under_way) - 1
    }
}

#[tokio::test]
async fn a_check_is_asked_at_its_intervals_and_judged_at_the_next_tick() {
    let mut world = World::new(vec![check()], &[4.5, 3.0]);
    let found = world.look(0, 0).await;
    assert_eq!(found[0].assessment, Assessment::NeedsData);
    assert_eq!(world.look(0, 1).await[0].assessment, Assessment::Pass);
    world.look(0, 9).await;
    assert_eq!(world.asked(), 1);
    world.look(0, 10).await;
    assert_eq!(world.look(0, 11).await[0].assessment, Assessment::Undecided);
    assert_eq!(
        *world.script.asked.lock().unwrap(),
        ["http://a/orders/1/canary"; 2]
    );
}

#[tokio::test]
async fn a_question_that_hangs_is_the_only_one_and_its_samples_grow_old() {
    let mut world = World::new(vec![check()], &[4.5]);
    world.look(0, 0).await;
    for now in 1..60 {
        assert_eq!(
            world.look(0, now).await[0].assessment,
            Assessment::Pass,
            "{now}"
        );
    }
    assert_eq!((world.asked(), world.under_way()), (2, 1));
    let found = world.look(0, 61).await;
    assert_eq!(found[0].assessment, Assessment::NeedsData);
    drop(world.polling);
    yield_now().await;
    assert_eq!(
        Arc::strong_count(&world.script.under_way),
        1,
        "dropped with the rollout"
    );
}

#[tokio::test]
async fn a_stage_begins_with_a_question_of_its_own_once_canary_is_warm() {
    let mut world = World::new(vec![check()], &[]);
    world.look(0, 0).await;
    assert_eq!(world.under_way(), 1);
    world.look(5, 3).await;
    assert_eq!(world.asked(), 1, "canary warms up");
    world.look(5, 5).await;
    assert_eq!(
        (world.asked(), world.under_way()),
        (2, 1),
        "the old one is dropped"
    );
}

#[tokio::test]
async fn both_arms_are_asked_about_where_they_are_compared() {
    let own = check();
    let compared = CustomCheck {
        comparison: Some(Comparison {
            stable: own.source.clone(),
            ratio: Limits {
                min: Some(0.9),
                max: None,
            },
        }),
        ..own
    };
    let mut world = World::new(vec![compared], &[4.5, 4.4]);
    world.look(0, 0).await;
    let found = world.look(0, 1).await;
    assert_eq!(found[0].assessment, Assessment::Pass, "{found:?}");
    assert_eq!(found[0].stable, Some(4.4));
    let asked = world.script.asked.lock().unwrap();
    assert_eq!(
        *asked,
        ["http://a/orders/1/canary", "http://a/orders/1/stable"]
    );
}

#[tokio::test]
async fn other_checks_begin_anew_and_the_same_go_on() {
    let mut world = World::new(vec![check()], &[4.5]);
    world.look(0, 0).await;
    assert!(!world.polling.replace(checks(vec![check()])));
    assert_eq!(world.look(0, 1).await[0].assessment, Assessment::Pass);
    let stricter = CustomCheck {
        limits: Limits::default(),
        ..check()
    };
    assert!(world.polling.replace(checks(vec![stricter])));
    assert_eq!(world.look(0, 2).await[0].assessment, Assessment::NeedsData);
    assert_eq!(world.asked(), 2);
    let met = FurtherChecks {
        release_when: Some("requests == 0".parse().unwrap()),
        ..FurtherChecks::default()
    };
    assert!(world.polling.replace(met));
    let found = world.look(0, 3).await;
    assert_eq!((found.len(), found[0].assessment), (1, Assessment::Pass));
}
