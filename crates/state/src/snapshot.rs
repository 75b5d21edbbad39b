//! All objects at one revision. Cloning copies a few pointers; readers and the writer never wait for each other.

mod validate;

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::tree::{Indexed, Path, PathRef, Tree, places};
use crate::{INDEXED_FIELDS, Key, LogIndex, Object, Revision, Term};

/// All objects at one revision.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) trees: OrdMap<Arc<str>, Tree>,
    pub(crate) owners: OrdSet<Indexed<Key>>,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) index: LogIndex,
    pub(crate) term: Term,
    /// Wrapping sum of the objects' digests: independent of order, kept up to date by each write.
    pub(crate) digest: u64,
}

impl Snapshot {
    /// Revision of the last operation.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// History up to and including this revision is gone by command: a watch from below answers 410.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Last log index applied.
    pub fn index(&self) -> LogIndex {
        self.index
    }

    /// Term of that log entry.
    pub fn term(&self) -> Term {
        self.term
    }

    /// A number that differs when any object, or the revision, differs: replicas of equal index agree on it.
    pub fn hash(&self) -> u64 {
        self.digest ^ self.revision.rotate_left(17) ^ self.compacted.rotate_left(41)
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.find(&key.resource, &key.namespace, &key.name)
    }

    /// One object, named without a `Key`.
    pub fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.tree(resource)?.get(namespace, name).cloned()
    }

    /// Objects of a resource by namespace and name, of one namespace or all, strictly after (namespace, name).
    pub fn list<'a>(
        &'a self,
        resource: &str,
        namespace: Option<&'a str>,
        after: Option<(&'a str, &'a str)>,
    ) -> impl Iterator<Item = Arc<Object>> + use<'a> {
        let after = after.map(|(namespace, name)| PathRef(namespace, name));
        let start = match (namespace, after) {
            (Some(namespace), Some(after)) if after.0 < namespace => {
                Bound::Included(PathRef(namespace, ""))
            }
            (_, Some(after)) => Bound::Excluded(after),
            (Some(namespace), None) => Bound::Included(PathRef(namespace, "")),
            (None, None) => Bound::Unbounded,
        };
        let tree = self.tree(resource);
        tree.into_iter()
            .flat_map(move |tree| tree.objects.range((start, Bound::Unbounded)))
            .take_while(move |(path, _)| namespace.is_none_or(|ns| &*path.namespace == ns))
            .map(|(_, object)| Arc::clone(object))
    }

    /// Number of objects of a resource.
    pub fn count(&self, resource: &str) -> usize {
        self.tree(resource).map_or(0, |tree| tree.objects.len())
    }

    /// Number of all objects.
    pub fn len(&self) -> usize {
        self.trees.values().map(|tree| tree.objects.len()).sum()
    }

    /// Whether there is no object at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Objects whose selectable field has a value; by index for `INDEXED_FIELDS`, else by looking at each.
    pub fn by_field(&self, resource: &str, field: &str, value: &str) -> Vec<Arc<Object>> {
        let Some(tree) = self.tree(resource) else {
            return Vec::new();
        };
        if let Some(at) = INDEXED_FIELDS.iter().position(|indexed| *indexed == field) {
            let found = places(&tree.fields[at], value);
            return found.map(|path| self.resolve(tree, path)).collect();
        }
        let matching = |object: &&Arc<Object>| object.header.field(field) == Some(value);
        tree.objects.values().filter(matching).cloned().collect()
    }

    /// Objects that name `uid` among their owners, by resource, namespace and name.
    pub fn by_owner(&self, uid: &str) -> Vec<Arc<Object>> {
        let owned = places(&self.owners, uid);
        owned
            .map(|key| self.get(key).expect("the owner index names stored objects"))
            .collect()
    }

    /// Resources that have objects, in order.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<str>> {
        let with_objects = self
            .trees
            .iter()
            .filter(|(_, tree)| !tree.objects.is_empty());
        with_objects.map(|(resource, _)| resource)
    }

    /// All objects, by resource, namespace and name.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.trees.values().flat_map(|tree| tree.objects.values())
    }

    pub(crate) fn tree(&self, resource: &str) -> Option<&Tree> {
        self.trees.get(resource)
    }

    fn resolve(&self, tree: &Tree, path: &Path) -> Arc<Object> {
        let object = tree.get(&path.namespace, &path.name);
        Arc::clone(object.expect("a field index names stored objects"))
    }

    /// Stores an object in the place of `previous`.
    pub(crate) fn put(&mut self, object: &Arc<Object>, previous: Option<&Object>) {
        let tree = match self.trees.get_mut(&object.key.resource) {
            Some(tree) => tree,
            None => self
                .trees
                .entry(Arc::clone(&object.key.resource))
                .or_default(),
        };
        tree.put(object, previous);
        let before = previous.map_or(&[][..], |previous| &previous.header.owners);
        if before != object.header.owners {
            self.unindex_owners(before, &object.key);
            for uid in &object.header.owners {
                let (value, place) = (Arc::clone(uid), object.key.clone());
                self.owners.insert(Indexed { value, place });
            }
        }
        let gone = previous.map_or(0, Object::digest);
        self.digest = self.digest.wrapping_sub(gone).wrapping_add(object.digest());
    }

    /// Removes an object that is there.
    pub(crate) fn remove(&mut self, object: &Object) {
        let tree = self.trees.get_mut(&object.key.resource);
        tree.expect("a stored object's resource has a tree")
            .remove(object);
        self.unindex_owners(&object.header.owners, &object.key);
        self.digest = self.digest.wrapping_sub(object.digest());
    }

    fn unindex_owners(&mut self, owners: &[Arc<str>], key: &Key) {
        for uid in owners {
            self.owners.remove(&Indexed {
                value: Arc::clone(uid),
                place: key.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
