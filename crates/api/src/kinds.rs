//! The list of kinds, one file each, and lookups in it.
//!
//! To add a kind: a file in `kinds/` and a line in `KINDS`. Routes, discovery, key prefixes, tables and OpenAPI
//! follow from it.

use std::sync::{Arc, OnceLock};

use crate::kind::SLOTS;
use crate::managed_fields::fieldset::FieldSet;
use crate::schema::Schema;

pub use crate::kind::{BuiltIn, Column, Conversion, Gvk, Hooks, Kind, Review, Subresource};

pub mod api_service;
pub mod binding;
pub mod certificate_signing_request;
pub mod cluster_role;
pub mod cluster_role_binding;
pub mod component_status;
pub mod config_map;
pub mod controller_revision;
pub mod cron_job;
pub mod csi_driver;
pub mod csi_node;
pub mod csi_storage_capacity;
pub mod custom_resource_definition;
pub mod daemon_set;
pub mod deployment;
pub mod device_class;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod flow_schema;
pub mod horizontal_pod_autoscaler;
pub mod ingress;
pub mod ingress_class;
pub mod ip_address;
pub mod job;
pub mod lease;
pub mod limit_range;
pub mod local_subject_access_review;
pub mod mutating_webhook_configuration;
pub mod namespace;
pub mod network_policy;
pub mod node;
pub mod node_metrics;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_disruption_budget;
pub mod pod_metrics;
pub mod pod_template;
pub mod priority_class;
pub mod priority_level_configuration;
pub mod replica_set;
pub mod replication_controller;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_quota;
pub mod resource_slice;
pub mod role;
pub mod role_binding;
pub mod runtime_class;
pub mod secret;
pub mod self_subject_access_review;
pub mod self_subject_review;
pub mod self_subject_rules_review;
pub mod service;
pub mod service_account;
pub mod service_cidr;
pub mod stateful_set;
pub mod storage_class;
pub mod subject_access_review;
#[cfg(test)]
pub(crate) mod testing;
pub mod token_review;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;
pub mod validating_webhook_configuration;
pub mod volume_attachment;
pub mod volume_attributes_class;

/// All kinds in all served versions, in the order of discovery: groups as upstream lists them, the preferred version of
/// a group first.
pub static KINDS: &[&Kind] = &[
    &binding::KIND,
    &component_status::KIND,
    &config_map::KIND,
    &endpoints::KIND,
    &event::KIND,
    &limit_range::KIND,
    &namespace::KIND,
    &node::KIND,
    &persistent_volume_claim::KIND,
    &persistent_volume::KIND,
    &pod::KIND,
    &pod_template::KIND,
    &replication_controller::KIND,
    &resource_quota::KIND,
    &secret::KIND,
    &service_account::KIND,
    &service::KIND,
    &api_service::KIND,
    &controller_revision::KIND,
    &daemon_set::KIND,
    &deployment::KIND,
    &replica_set::KIND,
    &stateful_set::KIND,
    &event::events_v1::KIND,
    &self_subject_review::KIND,
    &token_review::KIND,
    &local_subject_access_review::KIND,
    &self_subject_access_review::KIND,
    &self_subject_rules_review::KIND,
    &subject_access_review::KIND,
    &horizontal_pod_autoscaler::KIND,
    &horizontal_pod_autoscaler::v1::KIND,
    &cron_job::KIND,
    &job::KIND,
    &certificate_signing_request::KIND,
    &ingress::KIND,
    &ingress_class::KIND,
    &ip_address::KIND,
    &network_policy::KIND,
    &service_cidr::KIND,
    &pod_disruption_budget::KIND,
    &cluster_role_binding::KIND,
    &cluster_role::KIND,
    &role_binding::KIND,
    &role::KIND,
    &csi_driver::KIND,
    &csi_node::KIND,
    &csi_storage_capacity::KIND,
    &storage_class::KIND,
    &volume_attachment::KIND,
    &volume_attributes_class::KIND,
    &mutating_webhook_configuration::KIND,
    &validating_admission_policy::KIND,
    &validating_admission_policy_binding::KIND,
    &validating_webhook_configuration::KIND,
    &custom_resource_definition::KIND,
    &priority_class::KIND,
    &lease::KIND,
    &runtime_class::KIND,
    &endpoint_slice::KIND,
    &device_class::KIND,
    &resource_claim::KIND,
    &resource_claim_template::KIND,
    &resource_slice::KIND,
    &flow_schema::KIND,
    &priority_level_configuration::KIND,
    &node_metrics::KIND,
    &pod_metrics::KIND,
];

/// What is computed once per kind.
pub(crate) struct Slot {
    pub(crate) resource: Arc<str>,
    pub(crate) api_version: String,
    pub(crate) schema: OnceLock<Schema>,
    pub(crate) status_resets: OnceLock<FieldSet>,
}

/// The slot of a kind in `KINDS`.
pub(crate) fn slot(kind: &'static BuiltIn) -> &'static Slot {
    let slots = SLOTS.get_or_init(|| {
        let slots = KINDS.iter().map(|kind| Slot {
            resource: kontiki_base::status::qualified(kind.group(), kind.plural()).into(),
            api_version: join(kind.group(), kind.version()),
            schema: OnceLock::new(),
            status_resets: OnceLock::new(),
        });
        slots.collect()
    });
    let idx = KINDS
        .iter()
        .position(|known| matches!(known, Kind::BuiltIn(known) if std::ptr::eq(*known, kind)));
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

/// The kinds in the versions that are stored: each resource of the store once.
pub fn stored() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().copied().filter(|kind| kind.is_stored())
}

/// The stored kind of a resource id such as `pods` or `deployments.apps`.
pub fn by_resource(id: &str) -> Option<&'static Kind> {
    let (plural, group) = id.split_once('.').unwrap_or((id, ""));
    stored().find(|kind| kind.plural() == plural && kind.group() == group)
}

/// The kind that a URL names.
pub fn by_path(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .copied()
        .find(|kind| kind.plural() == plural && kind.group() == group && kind.version() == version)
}

/// The kind of `apiVersion` and `kind`.
pub fn by_gvk(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let mut kinds = KINDS.iter().copied();
    kinds.find(|known| known.kind() == kind && known.group() == group && known.version() == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_agree() {
        for kind in KINDS {
            assert_eq!(by_resource(kind.resource()), Some(kind.stored()));
            assert_eq!(
                by_path(kind.group(), kind.version(), kind.plural()),
                Some(*kind)
            );
            assert_eq!(by_gvk(kind.api_version(), kind.kind()), Some(*kind));
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
            assert_eq!(kind.singular(), kind.kind().to_lowercase(), "{kind:?}");
            let empty = serde_json::json!({"metadata": {"name": "x"}});
            assert_eq!(kind.row(&empty, 0).len(), kind.n_columns(), "{kind:?}");
            let fields: Vec<&str> = kind.fields(&empty).iter().map(|(name, _)| *name).collect();
            let selectable: Vec<&str> = (kind.selectable().into_iter())
                .map(|field| kind.stored_field(field))
                .collect();
            if kind.is_stored() {
                assert_eq!(fields, selectable, "{kind:?}");
            } else {
                assert!(
                    selectable.iter().all(|field| fields.contains(field)),
                    "{kind:?}"
                );
            }
        }
    }
}
