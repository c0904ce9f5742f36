//! The callers of a scene: where each stands, and how it fares.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::domain::bucket::Bucket;
use crate::domain::evidence::cells::Cell;
use crate::simulator::draw;
use crate::simulator::scene::Scene;
use crate::simulator::scene::conduct::buckets_of;

/// A caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    /// The hash that its bucket comes from.
    pub(super) hash: u32,
    pub(super) bucket: Bucket,
    pub(super) cell: Cell,
    /// Index of its group in the scene; the number of groups for everyone in none.
    pub(super) group: usize,
    /// The share of its requests that usually fail.
    pub(super) failures: f64,
    /// Buckets of latency by which it is slower than others.
    pub(super) slower: f64,
}

/// Draws everybody. Failure rates are right in the mean over many worlds; in a single one of few callers
/// they are not, as in life.
pub(super) fn draw_all(scene: &Scene, random: &mut Xoshiro256PlusPlus) -> Vec<Person> {
    let mut draw_one = |_| {
        let hash = random.random();
        let failures = match scene.callers.failures_shape {
            Some(shape) => scene.service.failures * draw::gamma_of_mean_1(shape, random),
            None => scene.service.failures,
        };
        Person {
            hash,
            bucket: Bucket::of_hash(hash),
            cell: Cell::of_hash(hash),
            group: draw_group(scene, random),
            failures: failures.min(1.0),
            slower: buckets_of(scene.callers.latency_sigma * draw::normal(random)),
        }
    };
    (0..scene.crowd.callers).map(&mut draw_one).collect()
}

fn draw_group(scene: &Scene, random: &mut Xoshiro256PlusPlus) -> usize {
    let mut groups = scene.groups.iter();
    let is_in = groups.position(|group| random.random_bool(group.share.ratio()));
    is_in.unwrap_or(scene.groups.len())
}
