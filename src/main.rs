//! The `serin` program: parses its arguments, runs one command, exits with its code.

fn main() {}
