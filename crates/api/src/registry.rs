//! The kinds that are served at one moment: the built-in ones, and those that users defined.
//!
//! A value of this type never changes: whoever answers a request takes one and answers by it to the end. Following the
//! stored definitions is the work of those who have a store.

use std::sync::Arc;

use crate::kind::Kind;
use crate::kinds::{self, KINDS};

/// The kinds of one moment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Kinds {
    /// In the order of discovery.
    custom: Arc<[Kind]>,
}

impl Kinds {
    /// The built-in kinds alone.
    pub fn built_in() -> Self {
        Self::default()
    }

    /// All kinds in all served versions, in the order of discovery: `KINDS`, then the groups of users, the preferred
    /// version of a group first.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        KINDS.iter().copied().chain(self.custom.iter())
    }

    /// The kinds in the versions that are stored: each resource of the store once.
    pub fn stored(&self) -> impl Iterator<Item = &Kind> {
        self.iter().filter(|kind| kind.is_stored())
    }

    /// The stored kind of a resource id such as `pods` or `deployments.apps`.
    pub fn by_resource(&self, id: &str) -> Option<&Kind> {
        let custom = || {
            let mut stored = self.custom.iter().filter(|kind| kind.is_stored());
            stored.find(|kind| **kind.resource() == *id)
        };
        kinds::by_resource(id).or_else(custom)
    }

    /// The kind that a URL names.
    pub fn by_path(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        kinds::by_path(group, version, plural).or_else(|| {
            self.custom.iter().find(|kind| {
                kind.plural() == plural && kind.group() == group && kind.version() == version
            })
        })
    }

    /// The kind of `apiVersion` and `kind`.
    pub fn by_gvk(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        kinds::by_gvk(api_version, kind).or_else(|| {
            self.custom
                .iter()
                .find(|known| known.kind() == kind && known.api_version() == api_version)
        })
    }

    /// Whether anything of a group is served.
    pub fn has_group(&self, group: &str) -> bool {
        self.iter().any(|kind| kind.group() == group)
    }

    /// Whether anything of a group version is served.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.iter()
            .any(|kind| kind.group() == group && kind.version() == version)
    }

    /// Whether both are of the same moment, without a look at the kinds.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.custom, &other.custom)
    }
}
