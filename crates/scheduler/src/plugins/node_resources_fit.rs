//! Requests must fit into what is allocatable; the emptier node scores higher (LeastAllocated).

use std::borrow::Cow;

use crate::framework::{Cycle, MAX_SCORE, Plugin, Rejection};
use crate::resources::Resources;

/// The plugin.
pub struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter(&self, cycle: &Cycle<'_>, slot: usize) -> Result<(), Rejection> {
        let table = &cycle.cache.table;
        let mut nominated = Resources::default();
        let mut n_nominated = 0;
        for (_, info) in cycle.nominated.iter().filter(|(at, _)| *at == slot) {
            nominated.add(&info.requests, 1);
            n_nominated += 1;
        }
        let mut rejection = Rejection {
            reasons: Vec::new(),
            unresolvable: false,
        };
        if table.n_pods[slot] + n_nominated + 1 > table.allocatable_pods[slot] {
            rejection.reasons.push("Too many pods".into());
            rejection.unresolvable = table.allocatable_pods[slot] < 1;
        }
        let needs = &cycle.pod.requests;
        let allocatable = &table.allocatable[slot];
        let requested = &table.requested[slot];
        let mut check = |name: &str, need: i64, all: i64, used: i64| {
            if need > 0 && need > all - used {
                rejection.reasons.push(insufficient(name));
                rejection.unresolvable |= need > all;
            }
        };
        let used = requested.cpu_milli + nominated.cpu_milli;
        check("cpu", needs.cpu_milli, allocatable.cpu_milli, used);
        check(
            "memory",
            needs.memory,
            allocatable.memory,
            requested.memory + nominated.memory,
        );
        let used = requested.ephemeral_storage + nominated.ephemeral_storage;
        check(
            "ephemeral-storage",
            needs.ephemeral_storage,
            allocatable.ephemeral_storage,
            used,
        );
        for (name, need) in &needs.other {
            let amount = |from: &Resources| from.other.get(name).copied().unwrap_or(0);
            let used = amount(requested) + amount(&nominated);
            check(name, *need, amount(allocatable), used);
        }
        if rejection.reasons.is_empty() {
            Ok(())
        } else {
            Err(rejection)
        }
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, cycle: &Cycle<'_>, slot: usize) -> i64 {
        let table = &cycle.cache.table;
        let (all, used, needs) = (
            &table.allocatable[slot],
            &table.assumed[slot],
            &cycle.pod.assumed,
        );
        let free = |all: i64, used: i64| {
            if all == 0 || used > all {
                0
            } else {
                (all - used) * MAX_SCORE / all
            }
        };
        let cpu = free(all.cpu_milli, used.cpu_milli + needs.cpu_milli);
        let memory = free(all.memory, used.memory + needs.memory);
        (cpu + memory) / 2
    }
}

fn insufficient(name: &str) -> Cow<'static, str> {
    match name {
        "cpu" => "Insufficient cpu".into(),
        "memory" => "Insufficient memory".into(),
        other => format!("Insufficient {other}").into(),
    }
}
