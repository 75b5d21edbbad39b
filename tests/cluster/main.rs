//! Real control planes of real processes: killed, paused, restarted, restored. No nodes, no containers.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod bad_input;
mod durability;
mod encryption;
mod failover;
mod full_disk;
mod membership;
mod snapshot;
mod watch;
