//! A host port is open once on a node.

use crate::framework::{Cycle, Plugin, Rejection};

/// The plugin.
pub struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn filter(&self, cycle: &Cycle<'_>, slot: usize) -> Result<(), Rejection> {
        let used = &cycle.cache.table.ports[slot];
        let taken = cycle
            .pod
            .ports
            .iter()
            .any(|port| used.iter().any(|other| other.conflicts(port)));
        match taken {
            true => Err(Rejection::resolvable(
                "node(s) didn't have free ports for the requested pod ports",
            )),
            false => Ok(()),
        }
    }
}
