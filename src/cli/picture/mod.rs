//! Where rollouts are, as a picture on a terminal that is drawn over and over.
//!
//! It is drawn by `view` from nothing but a status and what the last half minute was like.

mod bars;
mod findings;
mod line;
mod rollout;
mod screen;
mod trail;
mod view;
pub(crate) mod words;

#[cfg(test)]
pub(crate) use bars::{bar, sparkline};
pub(crate) use line::{Line, Tone};
pub(crate) use rollout::LINES_MIN;
#[cfg(test)]
pub(crate) use rollout::Panel;
#[cfg(test)]
pub(crate) use screen::frame;
pub(crate) use screen::{Screen, can_draw, size};
pub(crate) use trail::Trail;
#[cfg(test)]
pub(crate) use trail::{SECONDS, Seconds};
pub(crate) use view::{Size, View};
