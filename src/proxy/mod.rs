//! The data plane: takes requests in, asks which variant, sends them on, sees how they end.
//!
//! One worker for each core, and nothing shared between them on the way of a request: each has a
//! runtime of one thread, its own listening sockets on the same port (`SO_REUSEPORT`), its own
//! connections to the backends and its own counters. What they have in common is the published
//! snapshot, which is only read.
//!
//! A known weakness of `SO_REUSEPORT`: the kernel deals connections out by hash, so few long
//! connections may fall unevenly on the workers.

mod accept;
mod access;
mod address;
mod admission;
mod balance;
mod budget;
mod census;
mod client;
mod connection;
mod context;
mod discard;
mod dispatch;
mod download;
mod endpoints;
mod error;
pub mod explain;
mod feedback;
mod forward;
mod forwarded;
pub mod framing;
mod head_rules;
mod headers;
mod health;
mod identity;
mod interim;
mod listener;
mod observe;
mod outliers;
mod pass_back;
mod postscript;
mod proxy_protocol;
mod resolve;
mod respond;
mod rest;
mod retry;
mod service;
mod shortage;
pub mod story;
mod stream;
mod surroundings;
mod tail;
mod target;
mod tls;
mod trace;
mod turn;
mod upgrade;
mod upload;
pub mod upstream;
mod view;
mod waiting;
mod worker;

pub use access::{AccessLogReader, AccessLogTerms};
pub use context::{Socket, WorkerContext};
pub use head_rules::HeadRules;
pub use health::{HealthContext, run_health_checks};
pub(crate) use identity::jwt::present_once;
pub use identity::jwt::{PresentedToken, TokenDesk};
pub use listener::{BoundListener, bind};
pub use tail::{Onlooker, Tail};
pub use tls::{TlsError, TlsServer};
pub use upstream::tls::{TlsObjection, objection as tls_objection};
pub use worker::run_worker;
