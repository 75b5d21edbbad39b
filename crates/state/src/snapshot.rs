//! All objects at one revision. Cloning copies a few pointers; readers and the writer never wait for each other.

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

impl Snapshot {
    /// Checks that trees, indexes, revisions and the digest agree.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.compacted > self.revision {
            return Err(format!(
                "compacted {} beyond {}",
                self.compacted, self.revision
            ));
        }
        let (mut digest, mut n_owned) = (0u64, 0);
        for (resource, tree) in &self.trees {
            let mut n_indexed = [0; INDEXED_FIELDS.len()];
            for (path, object) in &tree.objects {
                let key = &object.key;
                if key.resource != *resource || Path::of(key) != *path {
                    return Err(format!("{key} is stored at {resource} {path:?}"));
                }
                if object.created > object.revision || object.revision > self.revision {
                    return Err(format!("{object:?} beyond revision {}", self.revision));
                }
                self.validate_indexes(tree, object, &mut n_indexed)?;
                n_owned += unique(&object.header.owners);
                digest = digest.wrapping_add(object.digest());
            }
            if tree.fields.each_ref().map(OrdSet::len) != n_indexed {
                return Err(format!(
                    "a field index of {resource} names what is not there"
                ));
            }
        }
        if self.owners.len() != n_owned {
            return Err("the owner index names what is not there".into());
        }
        (digest == self.digest)
            .then_some(())
            .ok_or_else(|| "the digest is off".into())
    }

    fn validate_indexes(
        &self,
        tree: &Tree,
        object: &Object,
        n_indexed: &mut [usize],
    ) -> Result<(), String> {
        for (at, field) in INDEXED_FIELDS.iter().enumerate() {
            if let Some(value) = crate::tree::value(&object.header, field) {
                n_indexed[at] += 1;
                if !tree.fields[at].contains(&Indexed {
                    value,
                    place: Path::of(&object.key),
                }) {
                    return Err(format!("{object:?} is missing from the index by {field}"));
                }
            }
        }
        for uid in &object.header.owners {
            let entry = Indexed {
                value: Arc::clone(uid),
                place: object.key.clone(),
            };
            if !self.owners.contains(&entry) {
                return Err(format!("{object:?} is missing from the index by owner"));
            }
        }
        Ok(())
    }
}

fn unique(owners: &[Arc<str>]) -> usize {
    let mut owners: Vec<&str> = owners.iter().map(|uid| &**uid).collect();
    owners.sort_unstable();
    owners.dedup();
    owners.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Header;

    fn view() -> Snapshot {
        let mut view = Snapshot {
            revision: 9,
            ..Snapshot::default()
        };
        let places = [
            ("a", "x", "n1"),
            ("a", "y", "n2"),
            ("b", "x", "n1"),
            ("c", "z", ""),
        ];
        for (namespace, name, node) in places {
            let header = Header {
                uid: Arc::from(format!("{namespace}-{name}")),
                fields: vec![(Arc::from("spec.nodeName"), Arc::from(node))],
                owners: vec![Arc::from(format!("owner-of-{name}"))],
                ..Header::default()
            };
            let key = Key::new("pods", namespace, name);
            view.put(
                &Arc::new(Object::new(key, 9, 1, header, Bytes::from("{}"))),
                None,
            );
        }
        view.validate().unwrap();
        view
    }

    fn names(objects: impl IntoIterator<Item = Arc<Object>>) -> String {
        let name = |object: Arc<Object>| format!("{}/{}", object.key.namespace, object.key.name);
        objects.into_iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lists_are_ordered_and_resume_after_a_key() {
        let view = view();
        assert_eq!(names(view.list("pods", None, None)), "a/x a/y b/x c/z");
        assert_eq!(
            names(view.list("pods", None, Some(("a", "x")))),
            "a/y b/x c/z"
        );
        assert_eq!(names(view.list("pods", Some("a"), None)), "a/x a/y");
        assert_eq!(names(view.list("pods", Some("a"), Some(("a", "x")))), "a/y");
        assert_eq!(names(view.list("pods", Some("b"), Some(("a", "x")))), "b/x");
        assert_eq!(names(view.list("pods", Some("a"), Some(("b", "x")))), "");
        assert_eq!(names(view.list("nodes", None, None)), "");
    }

    #[test]
    fn indexes_answer_by_node_and_owner() {
        let view = view();
        assert_eq!(
            names(view.by_field("pods", "spec.nodeName", "n1")),
            "a/x b/x"
        );
        assert_eq!(names(view.by_field("pods", "spec.nodeName", "")), "c/z");
        assert_eq!(names(view.by_field("pods", "spec.nodeName", "n")), "");
        assert_eq!(names(view.by_owner("owner-of-x")), "a/x b/x");
        assert_eq!(names(view.by_owner("owner-of-")), "");
    }

    #[test]
    fn a_snapshot_does_not_see_later_writes() {
        let mut view = view();
        let before = view.clone();
        let gone = view.find("pods", "a", "x").unwrap();
        view.remove(&gone);
        view.validate().unwrap();
        assert_eq!((before.len(), view.len()), (4, 3));
        assert_eq!(before.by_owner("owner-of-x").len(), 2);
        assert_ne!(before.hash(), view.hash());
    }

    #[test]
    fn validation_finds_an_index_that_disagrees() {
        let mut view = view();
        let value = Arc::from("n9");
        let place = Path {
            namespace: Arc::from("a"),
            name: Arc::from("x"),
        };
        view.trees.get_mut("pods").unwrap().fields[0].insert(Indexed { value, place });
        assert!(
            view.validate()
                .unwrap_err()
                .contains("names what is not there")
        );
    }
}
