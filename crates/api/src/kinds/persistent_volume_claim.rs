//! PersistentVolumeClaim: defaults, strategy and columns. Rules are in `persistent_volume_claim/validate.rs`.

mod validate;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};
use serde_json::{Value, json};

use super::storage_class;
use crate::admission::{Admission, Denied};
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::Meta;
use crate::podspec::json::{Fields, ensure, into_object, list, or, or_pointer, text, typed};
use crate::podspec::warnings;
use crate::quantity::Quantity;
use crate::table;

pub(super) use validate::{VOLUME_MODES, access_modes};

/// The annotation that named a claim's class before `spec.storageClassName` did.
pub(crate) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// PersistentVolumeClaim.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    subresources: &[Subresource::Status],
    columns: COLUMNS,
    hooks: Hooks {
        default: |object| fill_in(into_object(object)),
        admit,
        prepare_create,
        prepare_update: |new, old| keep_data_source(new, Some(old)),
        validate: validate::validate,
        validate_status: validate::validate_status,
        warnings,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<PersistentVolumeClaim>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Status", "The phase of the claim."),
    Column::text("Volume", "The volume that the claim is bound to."),
    Column::text("Capacity", "What the bound volume holds."),
    Column::text("Access Modes", "How the bound volume can be mounted."),
    Column::text("StorageClass", "The class of storage asked for."),
    Column::text(
        "VolumeAttributesClass",
        "The class of attributes asked for.",
    ),
    Column::AGE,
    Column::text(
        "VolumeMode",
        "Whether the volume is a file system or a device.",
    )
    .wide(),
];

/// Fills in the defaults of a claim, its own or in a StatefulSet's template.
pub fn fill_in(claim: &mut Fields) {
    or(ensure(claim, "status"), "phase", "Pending");
    or_pointer(ensure(claim, "spec"), "volumeMode", "Filesystem");
}

/// A new claim that leaves its class open gets the default one (upstream plugin `DefaultStorageClass`).
fn admit(claim: &mut Value, old: Option<&Value>, admission: &Admission<'_>) -> Result<(), Denied> {
    let is_open = claim
        .pointer("/spec/storageClassName")
        .is_none_or(Value::is_null)
        && Meta::of(claim).annotation(CLASS_ANNOTATION).is_none();
    if old.is_some() || admission.subresource.is_some() || !is_open {
        return Ok(());
    }
    if let Some(class) = storage_class::default_class(admission.objects) {
        let name = Meta::of(&class).name().to_owned();
        ensure(into_object(claim), "spec").insert("storageClassName".to_owned(), name.into());
    }
    Ok(())
}

/// Whether a claim may become as large as it wants: once it is bound, and if its class, which is looked up, says so
/// (upstream plugin `PersistentVolumeClaimResize`).
pub fn check_growth(
    claim: &Value,
    old: &Value,
    class_named: impl FnOnce(&str) -> Option<Arc<Value>>,
) -> Result<(), Denied> {
    let size = |claim: &Value| -> Quantity {
        let size = text(claim, "/spec/resources/requests/storage");
        size.parse().unwrap_or_default()
    };
    if size(claim) <= size(old) {
        return Ok(());
    }
    if text(old, "/status/phase") != "Bound" {
        let why = "Only bound persistent volume claims can be expanded";
        return Err(Denied(why.to_owned()));
    }
    let class = class_of(claim);
    let grows = class_named(class).is_some_and(|class| class["allowVolumeExpansion"] == true);
    if class != class_of(old) || !grows {
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
                   support resize";
        return Err(Denied(why.to_owned()));
    }
    Ok(())
}

fn class_of(claim: &Value) -> &str {
    let annotated = Meta::of(claim).annotation(CLASS_ANNOTATION);
    annotated.unwrap_or_else(|| text(claim, "/spec/storageClassName"))
}

fn prepare_create(object: &mut Value) {
    into_object(object).insert("status".to_owned(), json!({"phase": "Pending"}));
    let source = object.pointer("/spec/dataSource");
    let is_known = source.is_none_or(|source| {
        let (group, kind) = (text(source, "/apiGroup"), text(source, "/kind"));
        (group.is_empty() && kind == "PersistentVolumeClaim")
            || (group == "snapshot.storage.k8s.io" && kind == "VolumeSnapshot")
    });
    // Older clients expect that a source of another kind is dropped; `dataSourceRef` is there for those.
    if !is_known {
        ensure(into_object(object), "spec").remove("dataSource");
    }
    keep_data_source(object, None);
}

/// The two fields for a claim's source say the same.
fn keep_data_source(new: &mut Value, old: Option<&Value>) {
    let is_set = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    let had_namespace = |object: &Value| !text(object, "/spec/dataSourceRef/namespace").is_empty();
    let spec = ensure(into_object(new), "spec");
    let across = spec
        .get("dataSourceRef")
        .is_some_and(|source| !text(source, "/namespace").is_empty());
    // Sources in other namespaces are behind a gate that is off by default.
    if across && !old.is_some_and(had_namespace) {
        spec.remove("dataSourceRef");
    }
    // Updates of what was stored without the second field leave it so.
    if old.is_some_and(|old| !is_set(old.pointer("/spec/dataSourceRef"))) {
        return;
    }
    match (
        is_set(spec.get("dataSource")),
        is_set(spec.get("dataSourceRef")),
    ) {
        (true, false) => {
            let source = spec["dataSource"].clone();
            spec.insert("dataSourceRef".to_owned(), source);
        }
        (false, true) if !across => {
            let source = spec["dataSourceRef"].clone();
            spec.insert("dataSource".to_owned(), source);
        }
        _ => {}
    }
}

fn warnings(new: &Value, _: Option<&Value>) -> Vec<String> {
    let spec: PersistentVolumeClaimSpec = typed(new.get("spec"));
    let annotation = class_warning(new);
    annotation
        .into_iter()
        .chain(warnings::fractional_storage("spec", Some(&spec)))
        .collect()
}

/// A warning of the annotation that `storageClassName` replaced.
pub(super) fn class_warning(object: &Value) -> Option<String> {
    Meta::of(object).annotation(CLASS_ANNOTATION)?;
    Some(format!(
        "metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" \
         attribute instead"
    ))
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let volume = text(object, "/spec/volumeName");
    let (mut capacity, mut modes) = (String::new(), String::new());
    if !volume.is_empty() {
        capacity = capacity_cell(object, "/status/capacity/storage");
        modes = modes_cell(list(object, "/status/accessModes"));
    }
    vec![
        table::name(object),
        phase_cell(object),
        volume.into(),
        capacity.into(),
        modes.into(),
        class_cell(object),
        table::text(object, "/spec/volumeAttributesClassName", "<unset>"),
        table::age(object, now_unix_ms),
        table::text(object, "/spec/volumeMode", "<unset>"),
    ]
}

/// The phase, or that the object is on its way out.
pub(super) fn phase_cell(object: &Value) -> Value {
    match Meta::of(object).is_deleting() {
        true => "Terminating".into(),
        false => table::text(object, "/status/phase", ""),
    }
}

/// An amount of storage.
pub(super) fn capacity_cell(object: &Value, pointer: &str) -> String {
    let amount = text(object, pointer);
    if amount.is_empty() { "0" } else { amount }.to_owned()
}

/// The class of a claim or volume: the annotation comes first.
pub(super) fn class_cell(object: &Value) -> Value {
    match Meta::of(object).annotation(CLASS_ANNOTATION) {
        Some(class) => class.into(),
        None => table::text(object, "/spec/storageClassName", ""),
    }
}

/// Access modes as tables show them: `RWO,ROX`.
pub(super) fn modes_cell(modes: &[Value]) -> String {
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let named = short
        .iter()
        .filter(|(mode, _)| modes.iter().any(|given| given == mode));
    let named: Vec<&str> = named.map(|(_, short)| *short).collect();
    named.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_grow_where_their_class_lets_them() {
        let named = |name: &str| match name {
            "grows" => Some(Arc::new(json!({"allowVolumeExpansion": true}))),
            "stays" => Some(Arc::new(json!({"allowVolumeExpansion": false}))),
            _ => None,
        };
        let claim = |class: &str, size: &str, phase: &str| {
            json!({"spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}},
                "status": {"phase": phase}})
        };
        let unsupported = "only dynamically provisioned pvc can be resized and the storageclass that provisions the \
                           pvc must support resize";
        for (class, size, phase, expected) in [
            ("grows", "2Gi", "Bound", ""),
            ("grows", "1Gi", "Pending", ""),
            ("stays", "500Mi", "Bound", ""),
            (
                "grows",
                "2Gi",
                "Pending",
                "Only bound persistent volume claims can be expanded",
            ),
            ("stays", "2Gi", "Bound", unsupported),
            ("none", "2Gi", "Bound", unsupported),
            ("", "2Gi", "Bound", unsupported),
        ] {
            let (old, new) = (claim(class, "1Gi", phase), claim(class, size, phase));
            let told = check_growth(&new, &old, named);
            let told = told.map_or_else(|denied| denied.0, |()| String::new());
            assert_eq!(told, expected, "{class} {size} {phase}");
        }
    }

    #[test]
    fn new_claims_are_pending_and_their_sources_agree() {
        let mut claim = json!({
            "metadata": {"name": "data"},
            "spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "other"}},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
        });
        KIND.default(&mut claim);
        KIND.prepare_create(&mut claim);
        assert_eq!(claim["status"], json!({"phase": "Pending"}));
        assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
        assert_eq!(claim["spec"]["dataSourceRef"], claim["spec"]["dataSource"]);
        let mut claim = json!({"spec": {"dataSource": {"kind": "Odd", "name": "x"}}});
        KIND.prepare_create(&mut claim);
        assert_eq!(claim["spec"], json!({}));
    }

    #[test]
    fn rows_tell_the_bound_volume() {
        let mut claim = json!({
            "metadata": {"name": "data"},
            "spec": {"storageClassName": "fast", "volumeMode": "Block"},
            "status": {"phase": "Pending", "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "capacity": {"storage": "5Gi"}},
        });
        assert_eq!(
            row(&claim, 0)[1..7],
            [
                json!("Pending"),
                json!(""),
                json!(""),
                json!(""),
                json!("fast"),
                json!("<unset>")
            ]
        );
        claim["spec"]["volumeName"] = json!("pv1");
        assert_eq!(
            row(&claim, 0)[2..5],
            [json!("pv1"), json!("5Gi"), json!("RWO,RWX")]
        );
    }

    #[test]
    fn parts_of_bytes_are_warned_of() {
        let claim = json!({"metadata": {"annotations": {CLASS_ANNOTATION: "x"}},
            "spec": {"resources": {"requests": {"storage": "500m"}}}});
        assert_eq!(
            warnings(&claim, None),
            [
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; \
                 use \"storageClassName\" attribute instead",
                "spec.resources.requests[storage]: fractional byte value \"500m\" is invalid, must be an \
                 integer",
            ]
        );
    }
}
