//! Who wants to hear of which objects, indexed so that an unrelated event costs its writer nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{Event, INDEXED_FIELDS, Object};

/// What a subscriber wants to hear of. Nothing set: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// One resource; the fields below count only with it.
    pub resource: Option<Arc<str>>,
    /// One namespace; empty for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    /// One name; counts only with a namespace.
    pub name: Option<Arc<str>>,
    /// One value of an indexed field, such as (`spec.nodeName`, `n1`); others are ignored.
    pub field: Option<(Arc<str>, Arc<str>)>,
}

impl Interest {
    /// All objects of a resource.
    pub fn resource(resource: impl Into<Arc<str>>) -> Self {
        Self {
            resource: Some(resource.into()),
            ..Self::default()
        }
    }

    /// The narrowest slot that hears everything of interest. It may hear more: subscribers filter.
    fn slot(&self) -> Slot {
        let Some(resource) = self.resource.clone() else {
            return Slot::All;
        };
        if let (Some(namespace), Some(name)) = (&self.namespace, &self.name) {
            return Slot::Name(resource, Arc::clone(namespace), Arc::clone(name));
        }
        if let Some((field, value)) = &self.field
            && INDEXED_FIELDS.contains(&&**field)
        {
            return Slot::Field(resource, Arc::clone(field), Arc::clone(value));
        }
        match &self.namespace {
            Some(namespace) => Slot::Namespace(resource, Arc::clone(namespace)),
            None => Slot::Resource(resource),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Slot {
    All,
    Resource(Arc<str>),
    Namespace(Arc<str>, Arc<str>),
    Name(Arc<str>, Arc<str>, Arc<str>),
    Field(Arc<str>, Arc<str>, Arc<str>),
}

/// Called after an apply that touched the interest; must not block, nor subscribe or unsubscribe.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Table {
    slots: HashMap<Slot, Vec<(u64, Waker)>>,
    next_id: u64,
    n_subscriptions: usize,
}

/// All subscriptions of a store.
#[derive(Default)]
pub(crate) struct Interests {
    table: RwLock<Table>,
}

impl Interests {
    pub(crate) fn subscribe(self: &Arc<Self>, interest: &Interest, waker: Waker) -> Subscription {
        let slot = interest.slot();
        let mut table = self.table.write();
        let id = table.next_id;
        table.next_id += 1;
        table.n_subscriptions += 1;
        table
            .slots
            .entry(slot.clone())
            .or_default()
            .push((id, waker));
        Subscription {
            interests: Arc::clone(self),
            slot,
            id,
        }
    }

    /// Wakes each subscriber that any of the events touches, once.
    pub(crate) fn wake(&self, events: &[Event]) {
        let mut wakers = self.touched(events);
        wakers.sort_by_key(|(id, _)| *id);
        wakers.dedup_by_key(|(id, _)| *id);
        wakers.iter().for_each(|(_, waker)| waker());
    }

    /// Wakes everyone: the whole state was replaced.
    pub(crate) fn wake_all(&self) {
        let table = self.table.read();
        let wakers: Vec<Waker> = table
            .slots
            .values()
            .flatten()
            .map(|(_, waker)| Arc::clone(waker))
            .collect();
        drop(table);
        wakers.iter().for_each(|waker| waker());
    }

    fn touched(&self, events: &[Event]) -> Vec<(u64, Waker)> {
        let table = self.table.read();
        let mut wakers = Vec::new();
        if events.is_empty() || table.slots.is_empty() {
            return wakers;
        }
        let mut hear = |slot: &Slot| {
            if let Some(found) = table.slots.get(slot) {
                wakers.extend(found.iter().cloned());
            }
        };
        hear(&Slot::All);
        let mut last: Option<&Object> = None;
        for event in events {
            let (key, object) = (&event.object.key, &*event.object);
            if last.is_none_or(|last| last.key.resource != key.resource) {
                hear(&Slot::Resource(Arc::clone(&key.resource)));
            }
            last = Some(object);
            let (resource, namespace) = (&key.resource, &key.namespace);
            hear(&Slot::Namespace(
                Arc::clone(resource),
                Arc::clone(namespace),
            ));
            hear(&Slot::Name(
                Arc::clone(resource),
                Arc::clone(namespace),
                Arc::clone(&key.name),
            ));
            for field in INDEXED_FIELDS {
                let value_of = |object: &Object| crate::tree::value(&object.header, field);
                let (old, new) = (
                    event.previous.as_deref().and_then(value_of),
                    value_of(object),
                );
                let moved = old.filter(|old| Some(old) != new.as_ref());
                for value in moved.into_iter().chain(new) {
                    hear(&Slot::Field(Arc::clone(resource), Arc::from(*field), value));
                }
            }
        }
        wakers
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let table = self.table.read();
        assert_eq!(
            table.slots.values().map(Vec::len).sum::<usize>(),
            table.n_subscriptions
        );
        table.n_subscriptions
    }
}

/// A place in the index; dropping it ends the calls.
pub struct Subscription {
    interests: Arc<Interests>,
    slot: Slot,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut table = self.interests.table.write();
        let Some(slot) = table.slots.get_mut(&self.slot) else {
            return;
        };
        let at = slot.iter().position(|(id, _)| *id == self.id);
        // The waker's own drop may run foreign code: not under our lock.
        let gone = at.map(|at| slot.swap_remove(at));
        if slot.is_empty() {
            table.slots.remove(&self.slot);
        }
        debug_assert!(
            gone.is_some(),
            "a subscription is in the table until it is dropped"
        );
        table.n_subscriptions -= 1;
        drop(table);
        drop(gone);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}
