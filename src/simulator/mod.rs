//! A synthetic world, drawn from a seed: callers, backends, what goes wrong with them; and rollouts
//! in it.
//!
//! [`Behaviour`] and [`Crowd`] say what is drawn. `lab` acts it out on real sockets, [`Traffic`]
//! just counts it, and [`Simulation`] lets judge and `step` see nothing but these counts: whole
//! rollouts in milliseconds. It asks nobody the time, and equal seeds give equal worlds.

mod behaviour;
pub mod course;
mod crowd;
mod draw;
pub mod forecast;
pub mod scene;
mod simulation;
mod traffic;
pub mod trial;
mod world;

pub use behaviour::{Answer, Behaviour, Drawn};
pub use crowd::{Activity, Crowd};
pub use simulation::{Parameters, Simulation, Told};
pub use traffic::Traffic;
pub use world::{GroupShare, Regression, World};

#[cfg(test)]
mod tests;
