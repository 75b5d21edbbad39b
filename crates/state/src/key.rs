//! What names an object (`Key`) and what is known of it without decoding its bytes (`Header`).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Resource, namespace and name. Keys order by exactly that, which is the order of lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// `pods`, `deployments.apps`: `Kind::resource()`.
    pub resource: Arc<str>,
    /// Empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

impl Key {
    /// A key of its three parts.
    pub fn new(
        resource: impl Into<Arc<str>>,
        namespace: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.resource, self.name)
        } else {
            write!(f, "{}/{}/{}", self.resource, self.namespace, self.name)
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of an object that selectors, indexes and the garbage collector read. Persisted: append fields only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.labels`, sorted by key.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Selectable fields beyond name and namespace, such as `spec.nodeName`.
    pub fields: Vec<(Arc<str>, Arc<str>)>,
    /// Uids of `metadata.ownerReferences`.
    pub owners: Vec<Arc<str>>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
}

impl Header {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        find(&self.labels, name)
    }

    /// The value of a selectable field.
    pub fn field(&self, path: &str) -> Option<&str> {
        find(&self.fields, path)
    }
}

fn find<'a>(pairs: &'a [(Arc<str>, Arc<str>)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| &**key == name)
        .map(|(_, value)| &**value)
}
