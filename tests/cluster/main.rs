//! Real control planes of real processes: killed, paused, restarted, restored. No nodes, no containers.

mod bad_input;
mod durability;
mod failover;
mod membership;
mod snapshot;
mod watch;
