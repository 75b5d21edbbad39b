//! Bindings by subject, with the rules that they grant: what a request costs does not grow with the bindings of others.
//!
//! Made anew at the first request after a change of a role or binding. The rules stay decoded with their objects, so
//! that only the index is built again. Writes are acknowledged after their wake-up: whoever was told of a grant has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use kontiki_state::{Interest, Object, Snapshot, Store, Subscription};
use parking_lot::RwLock;
use serde::Deserialize;

use crate::options::User;
use crate::service_accounts::username;

pub(super) const ROLES: &str = "roles.rbac.authorization.k8s.io";
pub(super) const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
const CLUSTER_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";

/// The index and what tells that it is out of date.
pub(crate) struct Policies {
    is_stale: Arc<AtomicBool>,
    index: RwLock<Arc<Index>>,
    _subscriptions: Vec<Subscription>,
}

impl Policies {
    /// Follows a store.
    pub(crate) fn new(store: &Store) -> Self {
        let is_stale = Arc::new(AtomicBool::new(true));
        let follow = |resource: &str| {
            let flag = Arc::clone(&is_stale);
            let waker = Arc::new(move || flag.store(true, Ordering::Release));
            store.subscribe(&Interest::resource(resource), waker)
        };
        let subscriptions = [ROLES, CLUSTER_ROLES, BINDINGS, CLUSTER_BINDINGS].map(follow);
        Self {
            is_stale,
            index: RwLock::default(),
            _subscriptions: subscriptions.into(),
        }
    }

    /// The index of what this replica has.
    pub(crate) fn current(&self, store: &Store) -> Arc<Index> {
        if !self.is_stale.load(Ordering::Acquire) {
            return Arc::clone(&self.index.read());
        }
        // Others wait here instead of deciding by the old index.
        let mut index = self.index.write();
        if self.is_stale.swap(false, Ordering::AcqRel) {
            *index = Arc::new(Index::of(&store.snapshot()));
        }
        Arc::clone(&index)
    }
}

/// All bindings, by where they hold and whom they are for.
#[derive(Debug, Default)]
pub(crate) struct Index {
    cluster: Bound,
    namespaces: HashMap<Arc<str>, Bound>,
}

/// Subjects of the bindings of one scope: grants, and the index of the subject in each.
#[derive(Debug, Default)]
struct Bound {
    users: HashMap<String, Vec<(Arc<Grant>, usize)>>,
    groups: HashMap<String, Vec<(Arc<Grant>, usize)>>,
}

/// A binding and the rules of its role.
#[derive(Debug)]
pub(crate) struct Grant {
    name: Arc<str>,
    /// Empty for bindings of the cluster.
    namespace: Arc<str>,
    binding: Arc<Binding>,
    /// None when there is no such role.
    rules: Option<Arc<Rules>>,
}

/// What authorization reads of a binding.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

/// What authorization reads of a role.
#[derive(Debug, Deserialize)]
pub(super) struct Rules {
    rules: Option<Vec<PolicyRule>>,
}

impl Rules {
    pub(super) fn rules(&self) -> &[PolicyRule] {
        self.rules.as_deref().unwrap_or_default()
    }
}

/// The rules of the role that a reference names, as seen from a namespace.
pub(super) fn rules_of(
    snapshot: &Snapshot,
    reference: (&str, &str),
    namespace: &str,
) -> Option<Arc<Rules>> {
    let (kind, name) = reference;
    let role = if kind == "Role" {
        snapshot.find(ROLES, namespace, name)
    } else {
        snapshot.find(CLUSTER_ROLES, "", name)
    };
    role.and_then(|role| readable(role.typed::<Rules>()))
}

fn readable<T>(read: Result<Arc<T>, impl std::fmt::Display>) -> Option<Arc<T>> {
    read.inspect_err(|error| tracing::warn!(%error, "authorization leaves an object out"))
        .ok()
}

impl Index {
    fn of(snapshot: &Snapshot) -> Self {
        let mut index = Self::default();
        for binding in snapshot.list(CLUSTER_BINDINGS, None, None) {
            index.cluster.add(snapshot, &binding);
        }
        for binding in snapshot.list(BINDINGS, None, None) {
            let namespace = Arc::clone(&binding.key.namespace);
            let bound = index.namespaces.entry(namespace).or_default();
            bound.add(snapshot, &binding);
        }
        index
    }

    /// The grants of a user, first those that hold everywhere.
    pub(super) fn grants<'a>(
        &'a self,
        user: &'a User,
        namespace: &str,
    ) -> impl Iterator<Item = &'a (Arc<Grant>, usize)> {
        let local = self
            .namespaces
            .get(namespace)
            .filter(|_| !namespace.is_empty());
        let scopes = std::iter::once(&self.cluster).chain(local);
        scopes.flat_map(move |bound| {
            let groups = user
                .groups
                .iter()
                .filter_map(|group| bound.groups.get(group));
            bound
                .users
                .get(&user.name)
                .into_iter()
                .chain(groups)
                .flatten()
        })
    }
}

impl Bound {
    fn add(&mut self, snapshot: &Snapshot, object: &Object) {
        let Some(binding) = readable(object.typed::<Binding>()) else {
            return;
        };
        let namespace = Arc::clone(&object.key.namespace);
        let reference = (
            binding.role_ref.kind.as_str(),
            binding.role_ref.name.as_str(),
        );
        let grant = Arc::new(Grant {
            name: Arc::clone(&object.key.name),
            rules: rules_of(snapshot, reference, &namespace),
            namespace,
            binding,
        });
        for (idx, subject) in grant.binding.subjects.iter().flatten().enumerate() {
            let entry = (Arc::clone(&grant), idx);
            match subject.kind.as_str() {
                "User" => self
                    .users
                    .entry(subject.name.clone())
                    .or_default()
                    .push(entry),
                "Group" => self
                    .groups
                    .entry(subject.name.clone())
                    .or_default()
                    .push(entry),
                "ServiceAccount" => {
                    let namespace = subject.namespace.as_deref().unwrap_or(&grant.namespace);
                    if !namespace.is_empty() {
                        let name = username(namespace, &subject.name);
                        self.users.entry(name).or_default().push(entry);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Grant {
    /// The rules, or why there are none.
    pub(super) fn rules(&self) -> Result<&[PolicyRule], String> {
        let reference = &self.binding.role_ref;
        self.rules
            .as_ref()
            .map(|rules| rules.rules())
            .ok_or_else(|| {
                let kind = reference.kind.to_lowercase();
                format!(
                    "{kind}.rbac.authorization.k8s.io {:?} not found",
                    reference.name
                )
            })
    }

    /// The binding in upstream's words.
    pub(super) fn describe(&self, subject: usize) -> String {
        let (kind, name) = match &*self.namespace {
            "" => ("ClusterRoleBinding", self.name.to_string()),
            namespace => ("RoleBinding", format!("{}/{namespace}", self.name)),
        };
        let RoleRef {
            kind: role_kind,
            name: role,
            ..
        } = &self.binding.role_ref;
        let subject = self.binding.subjects.iter().flatten().nth(subject);
        let subject = subject.map_or_else(String::new, |subject| match subject.kind.as_str() {
            "ServiceAccount" => {
                let namespace = subject.namespace.as_deref().unwrap_or(&self.namespace);
                format!(
                    "{} {:?}",
                    subject.kind,
                    format!("{}/{namespace}", subject.name)
                )
            }
            kind => format!("{kind} {:?}", subject.name),
        });
        format!("{kind} {name:?} of {role_kind} {role:?} to {subject}")
    }
}
