//! VolumeAttachment (upstream `ValidateVolumeAttachment`).

use k8s_openapi::api::storage::v1::{
    VolumeAttachment, VolumeAttachmentSpec, VolumeAttachmentStatus, VolumeError,
};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::{StatusMetadata, names};
use crate::podspec::json::{text, typed};
use crate::podspec::names::csi_driver;
use crate::podspec::path::{Errors, Path};
use crate::podspec::scaled::{SPEC, unchanged};
use crate::table;

const MAX_METADATA_BYTES: usize = 256 << 10;
const MAX_MESSAGE_BYTES: usize = 1024;

/// VolumeAttachment.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "volumeattachment",
    namespaced: false,
    subresources: &[Subresource::Status],
    status_metadata: StatusMetadata::Kept,
    columns: &[
        Column::NAME,
        Column {
            format: "name",
            ..Column::text(
                "Attacher",
                "attacher indicates the name of the volume driver that MUST handle this request. This is the name \
                 returned by GetPluginName().",
            )
        },
        Column::text(
            "PV",
            "persistentVolumeName represents the name of the persistent volume to attach.",
        ),
        Column::text(
            "Node",
            "nodeName represents the node that the volume should be attached to.",
        ),
        Column::typed(
            "Attached",
            "boolean",
            "attached indicates the volume is successfully attached.",
        ),
        Column::AGE,
    ],
    unconditional_update: false,
    hooks: Hooks {
        validate,
        validate_status,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<VolumeAttachment>()
});

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: VolumeAttachmentSpec = typed(new.get("spec"));
    let attacher_at = SPEC.child("attacher");
    if spec.attacher.is_empty() {
        errors.required(attacher_at, "");
    }
    let source_at = SPEC.child("source");
    let name_at = source_at.child("persistentVolumeName");
    let volume = spec.source.persistent_volume_name.as_deref();
    match (&spec.source.inline_volume_spec, volume) {
        (None, None) => errors.required(source_at, ONE_SOURCE),
        (Some(_), Some(_)) => errors.forbidden(source_at, ONE_SOURCE),
        (None, Some("")) => {
            errors.required(name_at, "must specify non empty persistentVolumeName");
        }
        _ => {}
    }
    let node = spec.node_name.as_str();
    errors.invalid_each(SPEC.child("nodeName"), node, names::dns1123_subdomain(node));
    status(&mut errors, new);
    let Some(old) = old else {
        csi_driver(&mut errors, attacher_at, &spec.attacher);
        if let Some(volume) = volume {
            errors.invalid_each(name_at, volume, names::dns1123_subdomain(volume));
        }
        return errors.0;
    };
    unchanged(&mut errors, SPEC, &new["spec"], &old["spec"]);
    errors.0
}

const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    status(&mut errors, new);
    errors.0
}

fn status(errors: &mut Errors, attachment: &Value) {
    let at = Path::root("status");
    let status: VolumeAttachmentStatus = typed(attachment.get("status"));
    let metadata = status.attachment_metadata.iter().flatten();
    let size: usize = metadata.map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_METADATA_BYTES {
        errors.too_long(at.child("attachmentMetadata"), MAX_METADATA_BYTES);
    }
    for (field, found) in [
        ("attachError", &status.attach_error),
        ("detachError", &status.detach_error),
    ] {
        if let Some(found) = found {
            volume_error(errors, &at.child(field), found);
        }
    }
}

fn volume_error(errors: &mut Errors, at: &Path<'_>, error: &VolumeError) {
    if error
        .message
        .as_ref()
        .is_some_and(|text| text.len() > MAX_MESSAGE_BYTES)
    {
        // Upstream names the limit of the metadata here.
        errors.too_long(at.child("message"), MAX_METADATA_BYTES);
    }
    if let Some(code) = error.error_code
        && code < 0
    {
        let detail = names::range_error(0, i32::MAX.into());
        errors.invalid(at.child("errorCode"), code, detail);
    }
}

fn row(attachment: &Value, now_unix_ms: u64) -> Vec<Value> {
    let attached = attachment.pointer("/status/attached") == Some(&Value::Bool(true));
    vec![
        table::name(attachment),
        text(attachment, "/spec/attacher").into(),
        text(attachment, "/spec/source/persistentVolumeName").into(),
        text(attachment, "/spec/nodeName").into(),
        attached.into(),
        table::age(attachment, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_statuses, check_updates, created};
    use super::*;
    use serde_json::json;

    fn attachment() -> Value {
        json!({"spec": {
            "attacher": "csi.example.com", "nodeName": "n1", "source": {"persistentVolumeName": "pv"},
        }})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        check_creates(
            &KIND,
            &attachment(),
            &[
                ("/spec/attacher", json!(""), "spec.attacher: Required value"),
                (
                    "/spec/source",
                    json!({}),
                    "spec.source: Required value: must specify exactly one of inlineVolumeSpec and \
                     persistentVolumeName",
                ),
                (
                    "/spec/source/persistentVolumeName",
                    json!(""),
                    "spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName",
                ),
                (
                    "/spec/attacher",
                    json!("x".repeat(64)),
                    "spec.attacher: Too long: may not be more than 63 bytes",
                ),
            ],
        );
        check_updates(
            &KIND,
            &attachment(),
            &[(
                "/spec/nodeName",
                json!("n2"),
                "spec: Invalid value: {\"attacher\":\"csi.example.com\",\"nodeName\":\"n2\",\
                 \"source\":{\"persistentVolumeName\":\"pv\"}}: field is immutable",
            )],
        );
        check_statuses(
            &KIND,
            &attachment(),
            &[(
                "/status",
                json!({"attached": false, "attachError": {"errorCode": -1}}),
                "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            )],
        );
    }

    #[test]
    fn rows_show_what_is_attached_where() {
        let mut attachment = created(&KIND, &attachment());
        attachment["status"] = json!({"attached": true});
        assert_eq!(
            row(&attachment, 0)[1..5],
            [
                json!("csi.example.com"),
                json!("pv"),
                json!("n1"),
                json!(true)
            ]
        );
    }
}
