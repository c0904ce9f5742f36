//! The admin listener: API, metrics and health, on a port of its own.
//!
//! On a loopback address it need not ask for a token, so it takes care that nobody reaches it
//! through a browser: see `guard`. Anywhere else it lets in only who has one: see `auth`.

mod api;
mod auth;
mod changes;
pub mod client;
mod error;
mod guard;
mod health;
mod limits;
mod metrics;
mod ofrep;
mod ofrep_asker;
mod ofrep_events;
mod openapi;
mod routes;
mod server;
mod sse;
pub mod wire;

pub use auth::{Gate, Tokens};
pub use server::{AdminServer, AdminState};
pub use sse::Streams;
