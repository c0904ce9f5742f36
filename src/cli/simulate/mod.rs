//! `serin simulate`: what would the plan of a flag come to, and how soon would harm be found?

mod report;
mod written;

use std::io::{IsTerminal, stderr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::adapters::config_file;
use crate::cli::exit::{Exit, Unusable};
use crate::cli::simulate::report::{Report, Setting};
use crate::cli::simulate::written::{Before, Regression};
use crate::cli::{ConfigArgument, Done};
use crate::config::{Config, FlagConfig, RolloutConfig};
use crate::domain::further::values::ValueName;
use crate::domain::further::{Condition, FurtherChecks};
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::judge::JudgeSettings;
use crate::domain::judge::sequential::Unit;
use crate::domain::rollout::StageShape;
use crate::domain::weight::Weight;
use crate::simulator::forecast::Forecast;
use crate::simulator::scene::{Begins, Differences, Load, Scene, Service};
use crate::simulator::trial::Trial;
use crate::simulator::{Activity, Crowd, GroupShare};

/// How much of all callers is in a group of the plan about which nothing was said: 5 %.
const GROUP_SHARE: Weight = Weight::from_basis_points(500).unwrap();

/// Runs of a forecast, and of a count of false alarms, which are rare.
const RUNS: (u64, u64) = (100, 500);

/// What the help says at its end.
const HELP: &str = "Runs the plan with its judge many times in a world drawn from a seed, in simulated time. \
    Equal seeds give equal answers. Approvals are given at once, and a plan that just observes acts. Nobody \
    rates, every answer has the content type of all others, and custom checks are met; `release_when` is \
    asked, unless it is about ratings.\n\n\
    Exit codes: 0 simulated, 2 usage or configuration.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Simulate {
    #[command(flatten)]
    config: ConfigArgument,
    /// The flag whose plan it is.
    #[arg(long)]
    flag: FlagName,
    /// How many requests come: 200/s, 12000/min or 50/h.
    #[arg(long, value_name = "RATE", value_parser = written::rate)]
    rate: f64,
    /// From how many callers; 0 if none is known again, so that each request is drawn anew.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    callers: u32,
    /// How requests are spread over callers.
    #[arg(long, value_enum, default_value = "zipf")]
    activity: Habit,
    /// How many requests fail while nothing is wrong, and a few callers bear most of it; 0.5% where nothing
    /// is said.
    #[arg(long, value_name = "SHARE", value_parser = written::percent)]
    errors: Option<f64>,
    /// The median latency while nothing is wrong.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// How many callers are in a group that the plan names; 5% where nothing is said.
    #[arg(long = "group", value_name = "GROUP=SHARE", value_parser = written::group)]
    groups: Vec<(GroupName, Weight)>,
    /// What canary does wrong: 'errors 1%->2%', 'errors x2', '4xx 1%->5%', 'latency x1.3', 'median +10%',
    /// 'p99 x2', 'empty 20%' or 'dead'; if not from the start, then with 'after 15m' or 'from stage 3' at the
    /// end. May be given several times.
    #[arg(long = "regression", value_name = "WHAT", value_parser = written::regression)]
    regressions: Vec<Regression>,
    /// Let nothing be wrong, and tell how often canary is taken back all the same.
    #[arg(long, conflicts_with = "regressions")]
    aa: bool,
    /// How many rollouts; 100, or 500 with --aa, where nothing is said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    runs: Option<u64>,
    /// The seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a rollout is followed at most; where nothing is said, a hold more than the patience for each
    /// stage, and the watch. Never beyond the plan's deadline and watch.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    longest: Option<Duration>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How requests are spread over callers.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Habit {
    /// Everyone asks equally often.
    Equal,
    /// The n-th busiest asks 1/n as often as the busiest.
    Zipf,
    /// One in twenty makes four fifths of all requests.
    Heavy,
}

impl Habit {
    const fn word(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Zipf => "zipf",
            Self::Heavy => "heavy",
        }
    }
}

impl Simulate {
    pub(crate) fn run(self) -> Done {
        let config = config_file::read(&self.config.config)?.config;
        let entry = find(&config, &self.flag, &self.config.config)?;
        let rollout = entry
            .rollout
            .as_ref()
            .ok_or_else(|| no_plan(&config, &self.flag))?;
        let trial = Trial {
            scene: self.scene(&config, rollout)?,
            plan: rollout.plan.clone().acting(),
            judge: JudgeSettings {
                unit: self.unit(rollout),
                ..rollout.judge.clone()
            },
            release_when: rollout.further.release_when.clone().filter(is_simulated),
            longest: self
                .longest
                .unwrap_or_else(|| Trial::usual_length(&rollout.plan)),
        };
        let (few, many) = RUNS;
        let runs = self.runs.unwrap_or(if self.aa { many } else { few });
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let seeds: Vec<u64> = (0..runs).map(|run| self.seed.wrapping_add(run)).collect();
        let forecast = Forecast::run(&trial, &seeds, threads, &tell_of(runs));
        let report = Report::of(&forecast, self.setting(&trial, &rollout.further, runs));
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            report.print();
        }
        Ok(Exit::Done)
    }

    /// Callers, if the configuration lets them be known again and there are any.
    const fn unit(&self, rollout: &RolloutConfig) -> Unit {
        if self.callers == 0 {
            Unit::Request
        } else {
            rollout.judge.unit
        }
    }

    /// The world that was asked for.
    fn scene(&self, config: &Config, rollout: &RolloutConfig) -> Result<Scene, Unusable> {
        let (failures, client_errors) = self.rates_before()?;
        let stages = rollout.plan.stages().len();
        for regression in &self.regressions {
            if matches!(regression.begins, Begins::AtStage(stage) if stage >= stages) {
                let text = &regression.text;
                return Err(Unusable(format!(
                    "--regression '{text}': the plan has {stages} stages"
                )));
            }
        }
        Ok(Scene {
            crowd: Crowd {
                callers: self.callers.max(1),
                rate: self.rate,
                activity: match self.activity {
                    Habit::Equal => Activity::Equal,
                    Habit::Zipf => Activity::ByRank,
                    Habit::Heavy => Activity::FewHeavy,
                },
            },
            unit: self.unit(rollout),
            groups: self.group_shares(config, rollout)?,
            service: Service {
                failures,
                client_errors,
                median_ms: self.latency.as_secs_f64() * 1000.0,
                ..Service::HEALTHY
            },
            callers: Differences::USUAL,
            load: Load::Steady,
            changes: self.regressions.iter().map(Regression::change).collect(),
        })
    }

    /// How many requests fail and how many are refused before anything goes wrong: what is written, and
    /// what the regressions begin from.
    fn rates_before(&self) -> Result<(f64, f64), Unusable> {
        let (mut failures, mut client_errors) = (self.errors, None);
        for regression in &self.regressions {
            let (known, rate) = match regression.from {
                Some(Before::Errors(rate)) => (&mut failures, rate),
                Some(Before::ClientErrors(rate)) => (&mut client_errors, rate),
                None => continue,
            };
            if let Some(known) = known.filter(|known| (known - rate).abs() > 1e-9) {
                let (text, known, rate) = (&regression.text, known * 100.0, rate * 100.0);
                return Err(Unusable(format!(
                    "--regression '{text}' begins from {rate}%, but {known}% is what was said before"
                )));
            }
            *known = Some(rate);
        }
        let healthy = Service::HEALTHY;
        let or = |rate: Option<f64>, usual| rate.unwrap_or(usual);
        Ok((
            or(failures, healthy.failures),
            or(client_errors, healthy.client_errors),
        ))
    }

    /// The plan's groups in the order of the configuration, for a caller is in the first that fits.
    fn group_shares(
        &self,
        config: &Config,
        rollout: &RolloutConfig,
    ) -> Result<Vec<GroupShare>, Unusable> {
        let shapes = rollout.plan.shapes();
        let is_in_plan =
            |group: &GroupName| shapes.iter().any(|shape| shape.groups.contains(group));
        let groups: Vec<_> = config
            .groups
            .iter()
            .map(|(_, group)| &group.name)
            .filter(|name| is_in_plan(name))
            .collect();
        if let Some((other, _)) = self.groups.iter().find(|(name, _)| !groups.contains(&name)) {
            let known = match groups.is_empty() {
                true => "it names none".to_owned(),
                false => format!(
                    "expected one of {}",
                    listed(groups.iter().map(|name| name.as_str()))
                ),
            };
            return Err(Unusable(format!(
                "--group {other}: no group of the plan, {known}"
            )));
        }
        let share = |name: &GroupName| {
            let written = self.groups.iter().find(|(group, _)| group == name);
            written.map_or(GROUP_SHARE, |(_, share)| *share)
        };
        let shares = groups.into_iter().map(|name| GroupShare {
            group: name.clone(),
            share: share(name),
        });
        Ok(shares.collect())
    }

    /// What the answer says of the question.
    fn setting(&self, trial: &Trial, further: &FurtherChecks, runs: u64) -> Setting {
        let is_known_again = trial.scene.unit == Unit::Caller;
        Setting {
            flag: self.flag.to_string(),
            revision: trial.plan.revision().to_owned(),
            stages: trial
                .plan
                .stages()
                .iter()
                .map(|stage| stage_in_words(&stage.shape))
                .collect(),
            requests_per_second: self.rate,
            callers: is_known_again.then_some(self.callers),
            activity: is_known_again.then_some(self.activity.word()),
            errors: trial.scene.service.failures,
            latency_ms: trial.scene.service.median_ms,
            regressions: self
                .regressions
                .iter()
                .map(|regression| regression.text.clone())
                .collect(),
            not_simulated: left_out(further),
            seconds_max: trial.seconds_max(),
            runs,
            seed: self.seed,
        }
    }
}

/// Tells somebody at a terminal how far it is: a busy world takes its time.
fn tell_of(runs: u64) -> impl Fn(usize) + Sync {
    let is_watched = stderr().is_terminal();
    move |done| {
        if is_watched {
            // The last one leaves an empty line for the answer.
            let end = if done as u64 == runs {
                "\r\u{1b}[K"
            } else {
                ""
            };
            eprint!("\r{done} of {runs} rollouts{end}");
        }
    }
}

/// Whether a condition is about what is simulated: nobody rates.
fn is_simulated(condition: &Condition) -> bool {
    !condition.values().into_iter().any(ValueName::is_rating)
}

/// What is asked of others, and what the drawn answers and callers have none of.
fn left_out(further: &FurtherChecks) -> Vec<String> {
    let custom = further.custom.iter().map(|check| check.name.to_string());
    let condition = further.release_when.as_ref();
    let condition = condition.filter(|condition| !is_simulated(condition));
    let condition = condition.map(|_| "release_when, which asks for ratings".to_owned());
    let always = ["ratings", "content types"].map(str::to_owned);
    custom.chain(condition).chain(always).collect()
}

/// `25%`, or `beta 100%`.
fn stage_in_words(shape: &StageShape) -> String {
    let groups = shape.groups.iter().map(|group| format!("{group} "));
    groups.collect::<String>() + &shape.weight.to_string()
}

fn find<'a>(config: &'a Config, flag: &FlagName, path: &Path) -> Result<&'a FlagConfig, Unusable> {
    let entry = config.flags.iter().find(|entry| entry.flag.name == *flag);
    entry.ok_or_else(|| {
        let known = match config.flags.is_empty() {
            true => "there is none".to_owned(),
            false => format!(
                "expected one of {}",
                listed(config.flags.iter().map(|entry| entry.flag.name.as_str()))
            ),
        };
        Unusable(format!("no flag `{flag}` in {}, {known}", path.display()))
    })
}

fn no_plan(config: &Config, flag: &FlagName) -> Unusable {
    let with_plan = config.flags.iter().filter(|entry| entry.rollout.is_some());
    let with_plan: Vec<_> = with_plan.map(|entry| entry.flag.name.as_str()).collect();
    let others = match with_plan.is_empty() {
        true => "no flag has one".to_owned(),
        false => format!("those of {} could be", listed(with_plan.into_iter())),
    };
    Unusable(format!(
        "flag `{flag}` has no `rollout`, so there is no plan to simulate; {others}"
    ))
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
