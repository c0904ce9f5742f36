//! The admin listener: API, metrics and health, on a port of its own.
//!
//! It listens on a loopback address only and asks for no token, so it takes care that nobody
//! reaches it through a browser: see `guard`.

mod api;
mod error;
mod guard;
mod health;
mod metrics;
mod routes;
mod server;

pub use server::{AdminServer, AdminState};
