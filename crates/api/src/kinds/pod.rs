//! Pod: the kind, its columns and its selectable fields.
//!
//! The rules of a pod spec, which templates share, are in `podspec`; here and below is what only pods have.

mod admission;
mod ephemeral;
mod resize;
mod row;
mod runtime_class;
mod status;
mod strategy;
mod update;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

pub use self::strategy::qos_class;
pub use self::update::validate_binding;

use crate::admission::{Admission, Denied};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::StatusMetadata;
use crate::podspec::json::text;
use crate::podspec::warnings;

/// Pod.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        Subresource::Attach,
        Subresource::Binding,
        Subresource::EphemeralContainers,
        Subresource::Eviction,
        Subresource::Exec,
        Subresource::Log,
        Subresource::PortForward,
        Subresource::Proxy,
        Subresource::Resize,
        Subresource::Status,
    ],
    status_metadata: StatusMetadata::SentBut(&["ownerReferences"]),
    columns: COLUMNS,
    selectable: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ],
    counts_generation: true,
    graceful_delete: true,
    status_resets: &[
        &["spec"],
        &["metadata", "deletionTimestamp"],
        &["metadata", "ownerReferences"],
    ],
    hooks: Hooks {
        default: strategy::default,
        admit,
        prepare_create: strategy::prepare_create,
        prepare_status: strategy::prepare_status,
        prepare_part,
        validate,
        validate_status: status::validate,
        validate_part,
        warnings: warnings::pod,
        row: row::cells,
        fields,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Pod>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text(
        "Ready",
        "The aggregate readiness state of this pod for accepting traffic.",
    ),
    Column::text(
        "Status",
        "The aggregate status of the containers in this pod.",
    ),
    Column::text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last \
         container in this pod has restarted.",
    ),
    Column::AGE,
    Column::text(
        "IP",
        "podIP address allocated to the pod. Empty if not yet allocated.",
    )
    .wide(),
    Column::text(
        "Node",
        "The node on which this pod runs. Empty before it is scheduled.",
    )
    .wide(),
    Column::text(
        "Nominated Node",
        "The node on which preemption makes room for this pod. Empty when none.",
    )
    .wide(),
    Column::text(
        "Readiness Gates",
        "How many of the pod's readiness gates are open.",
    )
    .wide(),
];

fn admit(pod: &mut Value, old: Option<&Value>, admission: &Admission<'_>) -> Result<(), Denied> {
    if old.is_none() && admission.subresource.is_none() {
        runtime_class::admit(pod, admission.objects)?;
    }
    admission::priority(pod, old, admission)
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    match old {
        None => update::validate_create(new),
        Some(old) => update::validate_update(new, old),
    }
}

fn prepare_part(part: Subresource, kept: &mut Value, sent: &mut Value) {
    match part {
        Subresource::EphemeralContainers => ephemeral::take(kept, sent),
        Subresource::Resize => resize::take(kept, sent),
        _ => {}
    }
}

fn validate_part(part: Subresource, new: &Value, old: &Value) -> Vec<FieldError> {
    match part {
        Subresource::EphemeralContainers => ephemeral::validate(new, old),
        Subresource::Resize => resize::validate(new, old),
        _ => Vec::new(),
    }
}

fn fields(pod: &Value) -> Vec<(&'static str, String)> {
    let host_network = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    // Lists of all addresses came after the field, which wins when only it is set.
    let address = match text(pod, "/status/podIPs/0/ip") {
        "" => text(pod, "/status/podIP"),
        address => address,
    };
    vec![
        ("spec.nodeName", text(pod, "/spec/nodeName").to_owned()),
        (
            "spec.restartPolicy",
            text(pod, "/spec/restartPolicy").to_owned(),
        ),
        (
            "spec.schedulerName",
            text(pod, "/spec/schedulerName").to_owned(),
        ),
        (
            "spec.serviceAccountName",
            text(pod, "/spec/serviceAccountName").to_owned(),
        ),
        ("spec.hostNetwork", host_network.to_string()),
        ("status.phase", text(pod, "/status/phase").to_owned()),
        ("status.podIP", address.to_owned()),
        (
            "status.nominatedNodeName",
            text(pod, "/status/nominatedNodeName").to_owned(),
        ),
    ]
}
