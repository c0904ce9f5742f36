//! Draws the requests of a world, second by second, and counts how they end.
//!
//! A caller has a key, and by it a bucket of the flag like everybody's: raising a weight adds
//! callers to canary and moves none back. A request ends in the second it began in; answers that
//! take longer than what is left of it would only be counted a tick later.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::domain::bucket::{Bucket, murmur3_x86_32};
use crate::domain::evidence::cells::{Cell, CellTable, Now};
use crate::domain::evidence::{Stratum, TickCounts};
use crate::domain::ids::FlagName;
use crate::domain::judge::{ArmCuts, CallersTick, SightCuts};
use crate::domain::rollout::StageWeights;
use crate::domain::variant::{PerVariant, Variant};
use crate::simulator::crowd::Crowd;
use crate::simulator::world::World;

/// The requests of a world. Equal worlds with equal seeds make equal requests.
#[derive(Clone, Debug)]
pub struct Traffic {
    world: World,
    /// Where each caller stands.
    places: Vec<Place>,
    random: Xoshiro256PlusPlus,
    /// When the next request comes, in seconds since the start.
    next_at: f64,
    callers: Callers,
}

/// How callers are counted, as the data plane does it.
#[derive(Clone, Debug, Default)]
struct Callers {
    table: CellTable,
    now: Option<Now>,
    cuts: SightCuts,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    /// Index of the group in the world; its length for everyone in none.
    group: usize,
}

impl Traffic {
    /// Traffic to a flag that has not begun.
    pub fn new(world: World, flag: &FlagName, seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self {
            places: (0..world.crowd.callers)
                .map(|caller| place(&world, flag, &Crowd::key(caller)))
                .collect(),
            next_at: world.crowd.draw_pause(&mut random),
            random,
            world,
            callers: Callers::default(),
        }
    }

    /// Counts callers so in the next second.
    pub fn count_callers(&mut self, tick: CallersTick) {
        self.callers.table.clear(tick.clearing);
        self.callers.now = tick.now;
    }

    /// Looks at answers by these cuts in the next second.
    pub const fn cut_at(&mut self, cuts: SightCuts) {
        self.callers.cuts = cuts;
    }

    /// What is counted in a second, the first of which is 1, under the weights of an epoch.
    pub fn second(&mut self, second: u64, weights: &StageWeights, epoch: u64) -> TickCounts {
        let Self {
            world,
            random,
            callers,
            ..
        } = self;
        let behaviours = PerVariant::from_fn(|variant| world.behaviour(variant, second));
        let groups = world.groups.iter().map(|share| Some(&share.group));
        let mut strata: Vec<_> = groups
            .chain([None])
            .map(|group| Stratum::empty(group.cloned(), epoch, weights.of(group)))
            .collect();
        while self.next_at < second as f64 {
            self.next_at += world.crowd.draw_pause(random);
            let caller = world.crowd.draw_caller(random);
            let place = self.places[caller as usize];
            let stratum = &mut strata[place.group];
            let variant = match Bucket::of_hash(place.hash).is_within(stratum.weight) {
                true => Variant::Canary,
                false => Variant::Stable,
            };
            let outcome = behaviours.get(variant).draw(random).outcome();
            let arm = stratum.arms.get_mut(variant);
            arm.record(&outcome, caller.into());
            if let Some(now) = &callers.now
                && let Some(answer) = ArmCuts::answer(&outcome, || callers.cuts.of(variant))
            {
                let cell = Cell::of_hash(place.hash);
                callers.table.record(cell, now, &answer, &mut arm.cells);
            }
        }
        strata.into_iter().collect()
    }
}

fn place(world: &World, flag: &FlagName, key: &str) -> Place {
    let is_in = |group: &str, share| Bucket::of(group, key).is_within(share);
    let mut groups = world.groups.iter();
    let group = groups.position(|group| is_in(group.group.as_str(), group.share));
    Place {
        hash: murmur3_x86_32(flag.as_str().as_bytes(), key.as_bytes()),
        group: group.unwrap_or(world.groups.len()),
    }
}
