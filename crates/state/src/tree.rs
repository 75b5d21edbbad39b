//! Copy-on-write trees: the objects of one resource, and indexes that point into them.
//!
//! An index holds keys, not objects, so that a status update touches one tree only.

use std::cmp::Ordering;
use std::sync::Arc;

use equivalent::Comparable;
use imbl::{OrdMap, OrdSet};

use crate::{Header, INDEXED_FIELDS, Key, Object};

/// Namespace and name: an object's place in its resource's tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Path {
    pub(crate) fn of(key: &Key) -> Self {
        Self {
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&key.name),
        }
    }
}

/// A path to look up without allocating.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathRef<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl equivalent::Equivalent<Path> for PathRef<'_> {
    fn equivalent(&self, path: &Path) -> bool {
        self.compare(path) == Ordering::Equal
    }
}

impl Comparable<Path> for PathRef<'_> {
    fn compare(&self, path: &Path) -> Ordering {
        self.0
            .cmp(&path.namespace)
            .then_with(|| self.1.cmp(&path.name))
    }
}

/// An index entry: objects that share `value` are neighbours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Indexed<P> {
    pub(crate) value: Arc<str>,
    pub(crate) place: P,
}

/// Sorts before every entry of its value.
#[derive(Debug, Clone, Copy)]
struct ValueStart<'a>(&'a str);

impl<P> equivalent::Equivalent<Indexed<P>> for ValueStart<'_> {
    fn equivalent(&self, _: &Indexed<P>) -> bool {
        false
    }
}

impl<P> Comparable<Indexed<P>> for ValueStart<'_> {
    fn compare(&self, entry: &Indexed<P>) -> Ordering {
        self.0.cmp(&entry.value).then(Ordering::Less)
    }
}

/// Places of the objects of one value, in order.
pub(crate) fn places<'a, P: Ord + Clone>(
    index: &'a OrdSet<Indexed<P>>,
    value: &'a str,
) -> impl Iterator<Item = &'a P> {
    let entries = index.range(ValueStart(value)..);
    entries
        .take_while(move |entry| &*entry.value == value)
        .map(|entry| &entry.place)
}

/// The objects of one resource.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(crate) objects: OrdMap<Path, Arc<Object>>,
    /// One index for each of `INDEXED_FIELDS`, in its order.
    pub(crate) fields: [OrdSet<Indexed<Path>>; INDEXED_FIELDS.len()],
}

impl Tree {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&PathRef(namespace, name))
    }

    /// Stores an object; `previous` is what it replaces.
    pub(crate) fn put(&mut self, object: &Arc<Object>, previous: Option<&Object>) {
        let path = Path::of(&object.key);
        for (index, field) in self.fields.iter_mut().zip(INDEXED_FIELDS) {
            let (old, new) = (previous.and_then(|p| value(&p.header, field)), {
                value(&object.header, field)
            });
            if old != new {
                if let Some(value) = old {
                    let gone = index.remove(&Indexed {
                        value,
                        place: path.clone(),
                    });
                    debug_assert!(
                        gone.is_some(),
                        "{:?} was not indexed by {field}",
                        object.key
                    );
                }
                if let Some(value) = new {
                    index.insert(Indexed {
                        value,
                        place: path.clone(),
                    });
                }
            }
        }
        let replaced = self.objects.insert(path, Arc::clone(object));
        assert_eq!(replaced.is_some(), previous.is_some(), "{:?}", object.key);
    }

    /// Removes an object that is there.
    pub(crate) fn remove(&mut self, object: &Object) {
        let path = Path::of(&object.key);
        for (index, field) in self.fields.iter_mut().zip(INDEXED_FIELDS) {
            if let Some(value) = value(&object.header, field) {
                let gone = index.remove(&Indexed {
                    value,
                    place: path.clone(),
                });
                debug_assert!(
                    gone.is_some(),
                    "{:?} was not indexed by {field}",
                    object.key
                );
            }
        }
        let removed = self.objects.remove(&path);
        assert!(
            removed.is_some(),
            "{:?} was not there to remove",
            object.key
        );
    }
}

/// The shared value of a header's field.
pub(crate) fn value(header: &Header, field: &str) -> Option<Arc<str>> {
    header
        .fields
        .iter()
        .find(|(name, _)| &**name == field)
        .map(|(_, value)| Arc::clone(value))
}
