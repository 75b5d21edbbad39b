//! Pending pods: active by priority then arrival, backing off after a failure, or waiting for something to change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::pod_info::PodInfo;

/// First and longest back-off after a failure, in milliseconds (upstream's defaults).
const BACKOFF_FIRST_MS: u64 = 1_000;
const BACKOFF_CAP_MS: u64 = 10_000;
/// A pod is tried again after this long even if nothing seemed to change.
const UNSCHEDULABLE_MS: u64 = 5 * 60 * 1_000;

type Order = (Reverse<i32>, u64, Arc<str>);

#[derive(Debug)]
struct Pending {
    info: Arc<PodInfo>,
    arrival: u64,
    attempts: u32,
    failed_ms: u64,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Active,
    Backoff(u64),
    Unschedulable,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    pods: BTreeMap<Arc<str>, Pending>,
    active: BTreeSet<Order>,
    backoff: BTreeSet<(u64, Arc<str>)>,
    unschedulable: BTreeSet<(u64, Arc<str>)>,
    arrivals: u64,
}

impl Queue {
    /// Adds a pod or replaces its object; a changed pod is tried at once.
    pub fn upsert(&mut self, info: Arc<PodInfo>) {
        let uid = info.uid.clone();
        let (arrival, attempts) = match self.remove(&uid) {
            // A new status (our own condition) is no reason to try again.
            Some(old) if old.info.signature == info.signature => {
                let place = old.place;
                self.insert(Pending { info, ..old }, place);
                return;
            }
            Some(old) => (old.arrival, old.attempts),
            None => {
                self.arrivals += 1;
                (self.arrivals, 0)
            }
        };
        let pending = Pending {
            info,
            arrival,
            attempts,
            failed_ms: 0,
            place: Place::Active,
        };
        self.insert(pending, Place::Active);
    }

    fn insert(&mut self, mut pending: Pending, place: Place) {
        pending.place = place;
        let uid = pending.info.uid.clone();
        match place {
            Place::Active => drop(self.active.insert(order(&pending))),
            Place::Backoff(until) => drop(self.backoff.insert((until, uid.clone()))),
            Place::Unschedulable => {
                self.unschedulable.insert((pending.failed_ms, uid.clone()));
            }
        }
        self.pods.insert(uid, pending);
    }

    fn remove(&mut self, uid: &Arc<str>) -> Option<Pending> {
        let pending = self.pods.remove(uid)?;
        match pending.place {
            Place::Active => self.active.remove(&order(&pending)),
            Place::Backoff(until) => self.backoff.remove(&(until, uid.clone())),
            Place::Unschedulable => self.unschedulable.remove(&(pending.failed_ms, uid.clone())),
        };
        Some(pending)
    }

    /// Forgets a pod.
    pub fn forget(&mut self, uid: &str) {
        self.remove(&Arc::from(uid));
    }

    /// The next pod to try, which leaves the queue, with how often it has failed.
    pub fn pop(&mut self) -> Option<(Arc<PodInfo>, u32)> {
        let (_, _, uid) = self.active.first()?.clone();
        self.remove(&uid)
            .map(|pending| (pending.info, pending.attempts))
    }

    /// Puts a pod back that fits nowhere; it waits for a change.
    pub fn put_back(&mut self, info: Arc<PodInfo>, attempts: u32, now_ms: u64) {
        self.arrivals += 1;
        let pending = Pending {
            info,
            arrival: self.arrivals,
            attempts: attempts.saturating_add(1),
            failed_ms: now_ms,
            place: Place::Unschedulable,
        };
        self.insert(pending, Place::Unschedulable);
    }

    /// Something changed that may let pods fit: those who wait become active once their back-off is over.
    pub fn wake(&mut self, now_ms: u64) {
        for (_, uid) in std::mem::take(&mut self.unschedulable) {
            let Some(pending) = self.pods.remove(&uid) else {
                continue;
            };
            let until = pending.failed_ms + backoff_ms(pending.attempts);
            let place = if until <= now_ms {
                Place::Active
            } else {
                Place::Backoff(until)
            };
            self.insert(pending, place);
        }
    }

    /// Moves pods whose time has come.
    pub fn tick(&mut self, now_ms: u64) {
        while let Some((until, uid)) = self.backoff.first().cloned()
            && until <= now_ms
        {
            if let Some(pending) = self.remove(&uid) {
                self.insert(pending, Place::Active);
            }
        }
        while let Some((failed, uid)) = self.unschedulable.first().cloned()
            && failed + UNSCHEDULABLE_MS <= now_ms
        {
            if let Some(pending) = self.remove(&uid) {
                self.insert(pending, Place::Active);
            }
        }
    }

    /// When `tick` next has something to do.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let backoff = self.backoff.first().map(|(until, _)| *until);
        let waiting = self
            .unschedulable
            .first()
            .map(|(failed, _)| failed + UNSCHEDULABLE_MS);
        backoff.into_iter().chain(waiting).min()
    }

    /// Whether some pod can be tried now.
    pub fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// Pods that fit nowhere for now.
    pub fn n_unschedulable(&self) -> usize {
        self.backoff.len() + self.unschedulable.len()
    }
}

fn order(pending: &Pending) -> Order {
    (
        Reverse(pending.info.priority),
        pending.arrival,
        pending.info.uid.clone(),
    )
}

fn backoff_ms(attempts: u32) -> u64 {
    let doubled = BACKOFF_FIRST_MS << attempts.saturating_sub(1).min(8);
    doubled.min(BACKOFF_CAP_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn info(name: &str, priority: i32) -> Arc<PodInfo> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "labels": {"name": name}},
            "spec": {"containers": [], "priority": priority},
        }))
        .unwrap();
        Arc::new(PodInfo::new(Arc::new(pod)))
    }

    #[test]
    fn priority_first_then_arrival() {
        let mut queue = Queue::default();
        for (name, priority) in [("a", 0), ("b", 10), ("c", 10)] {
            queue.upsert(info(name, priority));
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop())
            .map(|(pod, _)| pod.uid.to_string())
            .collect();
        assert_eq!(order, ["b", "c", "a"]);
    }

    #[test]
    fn failures_back_off_and_wait_for_a_change() {
        let mut queue = Queue::default();
        queue.upsert(info("a", 0));
        let (pod, attempts) = queue.pop().unwrap();
        queue.put_back(pod, attempts, 1_000);
        queue.tick(60_000);
        assert!(!queue.has_active(), "nothing changed");
        queue.wake(1_500);
        assert!(!queue.has_active(), "still backing off");
        assert_eq!(queue.next_deadline_ms(), Some(2_000));
        queue.tick(2_000);
        assert!(queue.has_active());
        let (pod, attempts) = queue.pop().unwrap();
        assert_eq!(attempts, 1);
        queue.put_back(pod, attempts, 10_000);
        queue.tick(10_000 + UNSCHEDULABLE_MS);
        assert!(
            queue.has_active(),
            "tried again after five minutes all the same"
        );
    }
}
