//! The REST face of `kontiki-apiserver`, compatible with kube-apiserver code for code: URLs, content types, limits,
//! discovery, OpenAPI, Tables, lists, watches, logs. And the listener of the one public port, which serves gRPC too.
//!
//! A request passes: `server` (TLS, HTTP) → `layers` (who, how many, how long) → `route` and `path` (what) → `rest`
//! (which verb) → `list`, `watch`, `shape`, `respond` (how it is written).
//! `relay` is the same face in a process of its own, in front of replicas elsewhere.
//! Deliberately absent: authorization, validation, storage (`kontiki-apiserver`), kinds (`kontiki-api`).

mod accept;
mod aggregate;
mod audit;
mod body;
mod codec;
mod delete;
mod discovery;
mod guarded_io;
pub mod health;
mod invalid;
mod layers;
mod list;
mod logs;
mod openapi;
mod openapi_v2;
mod openid;
mod path;
mod query;
pub mod relay;
mod respond;
mod rest;
mod route;
mod router;
mod server;
mod shape;
mod streams;
#[cfg(test)]
mod tests;
pub mod tls;
mod upgrade;
mod urlencoded;
mod version;
mod watch;

pub use router::{GatewayOptions, router, with_grpc};
pub use server::serve;
pub use version::Build;
