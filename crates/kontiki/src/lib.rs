//! The `kontiki` binary as a library: subcommands, config, certificates, and the wiring of all other crates.
//!
//! Deliberately absent: anything that another floor owns. This crate only puts the parts together.

pub mod bench;
pub mod client;
pub mod commands;
pub mod config;
pub mod files;
pub mod gateway;
pub mod https;
pub mod join;
pub mod kubeconfig;
pub mod local;
pub mod output;
pub mod pki;
pub mod server;
pub mod telemetry;
