//! What a kind's admission may look at beyond the object: who asks, when, and the other objects.
//!
//! This is the part of upstream's admission plugins that a kind carries itself (`Hooks::admit`): the priority of a pod,
//! the default class of an Ingress, the requester of a certificate. The API server runs it for requests, and what
//! commits controllers' plans for theirs. Not here: quotas, webhooks, policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::kind::Subresource;

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Requester<'a> {
    /// Name.
    pub name: &'a str,
    /// Unique id, empty when unknown.
    pub uid: &'a str,
    /// Groups.
    pub groups: &'a [String],
    /// What else the authenticator knows.
    pub extra: Option<&'a BTreeMap<String, Vec<String>>>,
}

/// Objects as they are, at one revision.
pub trait Objects {
    /// One object of a resource such as `ingressclasses.networking.k8s.io`.
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>>;
    /// All objects of a resource, in all namespaces. For resources with few objects only.
    fn list(&self, resource: &str) -> Vec<Arc<Value>>;
}

/// What admission may look at.
#[derive(Clone, Copy)]
pub struct Admission<'a> {
    /// Who asks; the system itself has no name.
    pub requester: Requester<'a>,
    /// Now, RFC 3339.
    pub now: &'a str,
    /// The part of the object that is written.
    pub subresource: Option<Subresource>,
    /// The other objects.
    pub objects: &'a dyn Objects,
}

/// The request is refused (403) for this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

#[cfg(test)]
pub(crate) mod testing {
    //! Objects that a test gives.

    use super::*;

    pub(crate) struct Given(Vec<(&'static str, Vec<Arc<Value>>)>);

    impl Given {
        pub(crate) fn new(objects: Vec<(&'static str, Vec<Value>)>) -> Self {
            let shared = |objects: Vec<Value>| objects.into_iter().map(Arc::new).collect();
            let all = objects.into_iter();
            Self(
                all.map(|(resource, list)| (resource, shared(list)))
                    .collect(),
            )
        }

        pub(crate) fn admission(&self) -> Admission<'_> {
            Admission {
                requester: Requester::default(),
                now: "2026-01-01T00:00:00Z",
                subresource: None,
                objects: self,
            }
        }
    }

    impl Objects for Given {
        fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
            let mut list = self.list(resource).into_iter();
            list.find(|object| {
                let meta = crate::meta::Meta::of(object);
                meta.name() == name && meta.namespace() == namespace
            })
        }

        fn list(&self, resource: &str) -> Vec<Arc<Value>> {
            let lists = self.0.iter().filter(|(known, _)| *known == resource);
            lists.flat_map(|(_, list)| list.clone()).collect()
        }
    }
}
