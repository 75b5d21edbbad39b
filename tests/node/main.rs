//! Real nodes with real containers of a real Docker Engine.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod api_from_pods;
mod away;
mod containers;
mod cron;
mod idle;
mod purge;
mod rolling_update;
mod streams;
mod workload;
