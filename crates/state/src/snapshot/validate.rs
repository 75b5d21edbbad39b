//! What must hold of a snapshot: trees, indexes, revisions and the digest agree. It reads every object: for tests and
//! simulation.

use std::sync::Arc;

use imbl::OrdSet;

use super::Snapshot;
use crate::tree::{Indexed, Path, Tree, value};
use crate::{INDEXED_FIELDS, Object};

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
            if let Some(value) = value(&object.header, field) {
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
