//! The list of kinds, one file each, and lookups in it.
//!
//! To add a kind: a file in `kinds/` and a line in `KINDS`. Routes, discovery, key prefixes, tables and OpenAPI
//! follow from it.

use std::sync::{Arc, OnceLock};

use crate::kind::SLOTS;
use crate::schema::Schema;

pub use crate::kind::{Column, Gvk, Hooks, Kind, Review, Subresource};

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod config_map;
pub mod cron_job;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod job;
pub mod lease;
pub mod local_subject_access_review;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod replica_set;
pub mod role;
pub mod role_binding;
pub mod secret;
pub mod self_subject_access_review;
pub mod self_subject_review;
pub mod self_subject_rules_review;
pub mod service;
pub mod service_account;
pub mod subject_access_review;
pub mod token_review;

/// All kinds, in the order of discovery.
pub static KINDS: &[&Kind] = &[
    &config_map::KIND,
    &endpoints::KIND,
    &event::KIND,
    &namespace::KIND,
    &node::KIND,
    &pod::KIND,
    &secret::KIND,
    &service_account::KIND,
    &service::KIND,
    &deployment::KIND,
    &replica_set::KIND,
    &self_subject_review::KIND,
    &token_review::KIND,
    &local_subject_access_review::KIND,
    &self_subject_access_review::KIND,
    &self_subject_rules_review::KIND,
    &subject_access_review::KIND,
    &cron_job::KIND,
    &job::KIND,
    &cluster_role_binding::KIND,
    &cluster_role::KIND,
    &role_binding::KIND,
    &role::KIND,
    &lease::KIND,
    &endpoint_slice::KIND,
];

/// What is computed once per kind.
pub(crate) struct Slot {
    pub(crate) resource: Arc<str>,
    pub(crate) api_version: String,
    pub(crate) schema: OnceLock<Schema>,
}

/// The slot of a kind in `KINDS`.
pub(crate) fn slot(group: &str, plural: &str) -> &'static Slot {
    let slots = SLOTS.get_or_init(|| {
        let slots = KINDS.iter().map(|kind| Slot {
            resource: kontiki_base::status::qualified(kind.group, kind.plural).into(),
            api_version: join(kind.group, kind.version),
            schema: OnceLock::new(),
        });
        slots.collect()
    });
    let idx = KINDS
        .iter()
        .position(|kind| kind.plural == plural && kind.group == group);
    &slots[idx.expect("every Kind stands in KINDS")]
}

/// `v1` or `apps/v1`.
fn join(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The kind of a resource id such as `pods` or `deployments.apps`.
pub fn by_resource(id: &str) -> Option<&'static Kind> {
    let (plural, group) = id.split_once('.').unwrap_or((id, ""));
    KINDS
        .iter()
        .copied()
        .find(|kind| kind.plural == plural && kind.group == group)
}

/// The kind that a URL names.
pub fn by_path(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .copied()
        .find(|kind| kind.plural == plural && kind.group == group && kind.version == version)
}

/// The kind of `apiVersion` and `kind`.
pub fn by_gvk(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let mut kinds = KINDS.iter().copied();
    kinds.find(|known| known.kind == kind && known.group == group && known.version == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_agree() {
        for kind in KINDS {
            assert_eq!(by_resource(kind.resource()), Some(*kind));
            assert_eq!(by_path(kind.group, kind.version, kind.plural), Some(*kind));
            assert_eq!(by_gvk(kind.api_version(), kind.kind), Some(*kind));
        }
        assert_eq!(
            &**by_gvk("apps/v1", "Deployment").unwrap().resource(),
            "deployments.apps"
        );
        assert!(by_path("", "v1", "deployments").is_none());
    }

    #[test]
    fn static_data_is_coherent() {
        for kind in KINDS {
            assert_eq!(kind.singular, kind.kind.to_lowercase(), "{kind:?}");
            let empty = serde_json::json!({"metadata": {"name": "x"}});
            assert_eq!(kind.row(&empty, 0).len(), kind.columns.len(), "{kind:?}");
            let fields: Vec<&str> = kind.fields(&empty).iter().map(|(name, _)| *name).collect();
            assert_eq!(fields, kind.selectable, "{kind:?}");
        }
    }
}
