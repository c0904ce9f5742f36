//! Formulas, each with its source, and nothing else.

pub mod betting;
pub mod bucket_counts;
pub mod confidence_sequence;
pub mod e_process;
pub mod intervals;
pub mod log_space;
pub mod odds_ratio;
pub mod proportion;
pub mod reference_window;
