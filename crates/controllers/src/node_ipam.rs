//! Gives each node its share of the cluster's pod addresses: the lowest free one.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Node;
use kontiki_state::Object;
use serde_json::json;

use crate::plan::Plan;
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey};

/// The controller. One key for all nodes, so that two of them never get the same share.
pub struct NodeIpam;

impl Controller for NodeIpam {
    fn name(&self) -> &'static str {
        "node-ipam-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: "nodes",
            map: if_without,
        }]
    }

    fn reconcile(&self, view: &View<'_>, _: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let (base, n_shares) = range(&view.settings.cluster_cidr, view.settings.node_mask)?;
        let nodes = view.list::<Node>(None)?;
        let cidr = |node: &Node| node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone());
        let used: BTreeSet<String> = nodes.iter().filter_map(|node| cidr(node)).collect();
        let mask = view.settings.node_mask;
        let share = |idx: u32| {
            format!(
                "{}/{mask}",
                Ipv4Addr::from(base + (idx << (32 - u32::from(mask))))
            )
        };
        let mut free = (0..n_shares)
            .map(share)
            .filter(|share| !used.contains(share));
        for node in nodes.iter().filter(|node| cidr(node).is_none()) {
            let Some(share) = free.next() else {
                let message = format!("Node {} status is now: CIDRNotAvailable", node.name());
                plan.warn(node, "CIDRNotAvailable", message);
                continue;
            };
            plan.edit(&node.object, |value| {
                value["spec"]["podCIDR"] = json!(share);
                value["spec"]["podCIDRs"] = json!([share]);
            });
        }
        Ok(plan)
    }
}

fn if_without(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let without = object.typed::<Node>().is_ok_and(|node| {
        node.spec
            .as_ref()
            .and_then(|spec| spec.pod_cidr.as_ref())
            .is_none()
    });
    if without {
        vec![WorkKey::all()]
    } else {
        Vec::new()
    }
}

fn range(cidr: &str, node_mask: u8) -> Result<(u32, u32), Error> {
    let invalid = || {
        Error::Invalid(format!(
            "cluster CIDR {cidr} cannot be split in /{node_mask}"
        ))
    };
    let (address, mask) = cidr.split_once('/').ok_or_else(invalid)?;
    let address: Ipv4Addr = address.parse().map_err(|_malformed| invalid())?;
    let mask: u8 = mask.parse().map_err(|_malformed| invalid())?;
    if !(8..=30).contains(&mask) || !(mask..=30).contains(&node_mask) {
        return Err(invalid());
    }
    let base = u32::from(address) & (u32::MAX << (32 - u32::from(mask)));
    Ok((base, 1 << (node_mask - mask)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_and_split() {
        assert_eq!(range("10.244.0.0/16", 24).unwrap(), (0x0af4_0000, 256));
        for (cidr, mask) in [("10.244.0.0", 24), ("10.0.0.0/16", 8), ("x/16", 24)] {
            assert!(range(cidr, mask).is_err(), "{cidr} {mask}");
        }
    }
}
