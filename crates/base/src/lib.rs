//! What every other crate may rely on and nothing that any of them owns: limits, errors, clock, randomness,
//! back-off, named tasks, the metric catalog.
//!
//! Deliberately absent: Kubernetes kinds (`kontiki-api`), I/O of any sort.

pub mod backoff;
pub mod clock;
pub mod limits;
pub mod metrics;
pub mod random;
pub mod status;
pub mod task;
