//! Prefers nodes on which cpu and memory would be used to a similar degree.

use crate::framework::{Cycle, MAX_SCORE, Plugin};

/// The plugin.
pub struct BalancedAllocation;

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, cycle: &Cycle<'_>, slot: usize) -> i64 {
        let needs = &cycle.pod.requests;
        if needs.cpu_milli == 0 && needs.memory == 0 {
            return 0; // a best-effort pod balances nothing: upstream skips it
        }
        let table = &cycle.cache.table;
        let (all, used) = (&table.allocatable[slot], &table.requested[slot]);
        let fraction = |all: i64, used: i64| {
            if all == 0 {
                1.0
            } else {
                (used as f64 / all as f64).min(1.0)
            }
        };
        let cpu = fraction(all.cpu_milli, used.cpu_milli + needs.cpu_milli);
        let memory = fraction(all.memory, used.memory + needs.memory);
        // With two resources the standard deviation is half their distance.
        ((1.0 - (cpu - memory).abs() / 2.0) * MAX_SCORE as f64) as i64
    }
}
