//! Real nodes with real containers of a real Docker Engine.

mod away;
mod containers;
mod cron;
mod purge;
mod rolling_update;
mod workload;
