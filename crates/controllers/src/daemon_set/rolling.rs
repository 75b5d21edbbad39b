//! The rolling update of a DaemonSet: old pods make room for new ones within `maxUnavailable`, or new ones are added
//! within `maxSurge` before old ones go. `manage` makes the pods that nodes lack then.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::Work;
use super::manage::is_going;
use crate::view::Found;

/// The pods of one node: of the present template, and of an older one.
#[derive(Debug, Default, Clone)]
struct Pair {
    new: Option<Found<Pod>>,
    old: Option<Found<Pod>>,
    /// More than one of a sort: `manage` has to see to it first.
    crowded: bool,
}

impl Work<'_> {
    fn pair(&self, pods: &[Found<Pod>]) -> Pair {
        let mut pair = Pair::default();
        for pod in pods.iter().filter(|pod| !is_going(pod)) {
            let slot = if self.is_updated(pod) {
                &mut pair.new
            } else {
                &mut pair.old
            };
            pair.crowded |= slot.replace(pod.clone()).is_some();
        }
        pair
    }

    /// Nodes that want a pod or have one, and how many want one.
    fn pairs(&self) -> (BTreeMap<String, Pair>, i32) {
        let by_node = self.pods.0.iter();
        let mut pairs: BTreeMap<String, Pair> = by_node
            .map(|(node, pods)| (node.clone(), self.pair(pods)))
            .collect();
        let wanting = self.nodes.iter().filter(|(_, fit)| fit.run);
        let mut desired = 0;
        for (node, _) in wanting {
            pairs.entry(node.name().to_owned()).or_default();
            desired += 1;
        }
        (pairs, desired)
    }

    /// One step of the update.
    pub fn roll(&mut self) {
        let (pairs, desired) = self.pairs();
        let surge = self.max_surge(desired);
        let unavailable = self.max_unavailable(desired);
        if surge == 0 {
            self.make_room(pairs, unavailable);
        } else {
            self.surge(pairs, surge, desired - unavailable);
        }
    }

    fn make_room(&mut self, pairs: BTreeMap<String, Pair>, most: i32) {
        let mut unavailable = 0;
        let (mut broken, mut candidates) = (Vec::new(), Vec::new());
        for pair in pairs.into_values() {
            match (pair.new, pair.old, pair.crowded) {
                (Some(new), None, false) => unavailable += i32::from(!self.is_available(&new)),
                (None, Some(old), false) if self.is_available(&old) => candidates.push(old),
                (None, Some(old), false) => {
                    // It serves nobody: its replacement costs nothing.
                    broken.push(old);
                    unavailable += 1;
                }
                _ => unavailable += 1,
            }
        }
        let rest = usize::try_from(most - unavailable).unwrap_or(0);
        for pod in broken.iter().chain(candidates.iter().take(rest)) {
            self.delete(pod);
        }
    }

    fn surge(&mut self, pairs: BTreeMap<String, Pair>, most: i32, least_available: i32) {
        let (mut surging, mut available) = (0, 0);
        let (mut replaced, mut unwanted) = (Vec::new(), Vec::new());
        let (mut urgent, mut candidates) = (Vec::new(), Vec::new());
        for (node, pair) in pairs {
            if pair.crowded {
                surging += 1;
                continue;
            }
            let new_available = pair.new.as_ref().is_some_and(|pod| self.is_available(pod));
            let old_available = pair.old.as_ref().is_some_and(|pod| self.is_available(pod));
            let counts = match pair.old {
                Some(_) => old_available,
                None => new_available,
            };
            available += i32::from(counts);
            match (pair.new, pair.old) {
                (_, None) => {}
                (None, Some(old)) if !self.wants(&node) => unwanted.push((old, old_available)),
                (None, Some(_)) if old_available => candidates.push(node),
                (None, Some(_)) => urgent.push(node),
                (Some(_), Some(old)) if !old_available || new_available => replaced.push(old),
                (Some(_), Some(_)) => surging += 1,
            }
        }
        // Where no pod may be added any more, the old one goes as far as enough are left.
        for (old, is_available) in unwanted {
            if is_available && available <= least_available {
                continue;
            }
            available -= i32::from(is_available);
            replaced.push(old);
        }
        let rest = usize::try_from(most - surging).unwrap_or(0);
        replaced.iter().for_each(|pod| self.delete(pod));
        for node in urgent.iter().chain(candidates.iter().take(rest)) {
            self.create(node);
        }
    }

    fn wants(&self, name: &str) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|(node, fit)| node.name() == name && fit.run)
    }
}
