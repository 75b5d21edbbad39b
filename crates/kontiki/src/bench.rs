//! Measurements of a running cluster through its public API, so that they run against any Kubernetes API server.

use std::path::PathBuf;

use anyhow::Result;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::https::Client;
use crate::local::layout::Layout;

mod create_pods;
mod disk;
mod failover;
mod get_pods;
mod idle;
mod list;
mod load;
mod memory;
mod usage;
mod watch;

/// A measurement under way.
pub type Measuring = BoxFuture<'static, Result<Box<dyn Report>>>;

/// One measurement.
pub struct Bench {
    /// Name on the command line.
    pub name: &'static str,
    /// Operations in all, unless told otherwise.
    pub default_count: usize,
    /// Connections, unless told otherwise.
    pub default_connections: usize,
    /// What it does.
    pub run: fn(Load) -> Measuring,
}

/// All measurements.
pub const BENCHES: &[Bench] = &[
    create_pods::BENCH,
    get_pods::BENCH,
    failover::BENCH,
    idle::BENCH,
    list::BENCH,
    watch::BENCH,
    memory::BENCH,
];

/// Connections that keep a server busy.
const CONNECTIONS: usize = 64;

/// What to measure with.
pub struct Load {
    /// The API server.
    pub client: Client,
    /// Connections that work at once, one request each.
    pub connections: usize,
    /// Operations in all.
    pub count: usize,
    /// Namespace to work in.
    pub namespace: String,
    /// Folder whose disk's sync rate is measured.
    pub disk: PathBuf,
    /// The cluster of `kontiki up`, when it is one.
    pub local: Option<Layout>,
}

/// Figures of one measurement.
pub trait Report: Send {
    /// For machines.
    fn to_json(&self) -> Value;
    /// For people.
    fn print(&self);
}

/// The value that `percent` of sorted values do not exceed.
fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_the_smallest_value_that_enough_do_not_exceed() {
        let values: Vec<u32> = (1..=20).collect();
        assert_eq!(percentile(&values, 50), Some(10));
        assert_eq!(percentile(&values, 99), Some(20));
        assert_eq!(percentile(&values, 0), Some(1));
        assert_eq!(percentile(&[7], 50), Some(7));
        assert_eq!(percentile::<u32>(&[], 50), None);
    }
}
