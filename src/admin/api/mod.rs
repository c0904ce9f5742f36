//! The resources of the API, one file each.

pub(crate) mod groups;
pub(crate) mod journal;
mod query;
pub(crate) mod rollouts;
pub(crate) mod status;
mod wish;
