//! The resources of the API, one file each.

pub(crate) mod groups;
pub(crate) mod rollouts;
mod wish;
