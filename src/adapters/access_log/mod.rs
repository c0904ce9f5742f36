//! Writes the access log: takes what workers have left, makes lines of it, and writes them.
//!
//! Writing may take as long as it likes, for it has a thread of its own: a pipe that nobody reads
//! or a disk that hangs stops that thread, the trays of the workers fill up, and what finds no
//! room there is lost and counted. Nothing else waits.

mod sink;
mod writer;

pub use sink::Sink;
pub use writer::Writer;
