#![doc = include_str!("ARCHITECTURE.md")]

pub mod adapters;
pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod domain;
pub mod lab;
#[cfg(feature = "segments")]
pub mod learning;
pub mod proxy;
pub mod runtime;
pub mod simulator;
pub mod telemetry;
