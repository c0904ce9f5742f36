//! Where state is remembered: in a file ([`embedded`]), or as long as the process lives
//! ([`volatile`]).

pub mod embedded;
mod limits;
mod points;
#[cfg(test)]
mod samples;
pub mod volatile;

pub use embedded::{EmbeddedStore, OpenError, Opened};
pub use volatile::{MemoryState, UnusableStore};
