//! Formulas, each with its source, and nothing else.

pub mod intervals;
