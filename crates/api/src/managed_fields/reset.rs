//! Fields that no manager comes to own: the system's metadata, and what a way of writing resets (upstream's
//! `GetResetFields`). All are made once.

use std::sync::LazyLock;

use super::fieldset::FieldSet;
use crate::kind::{Kind, Subresource};

static NOTHING: LazyLock<FieldSet> = LazyLock::new(FieldSet::default);
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&[&["status"]]));
static SYSTEM_METADATA: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// Nothing at all.
pub(crate) fn nothing() -> &'static FieldSet {
    &NOTHING
}

/// What no manager ever owns.
pub(crate) fn system_metadata() -> &'static FieldSet {
    &SYSTEM_METADATA
}

/// What a write of an object or of a part of it resets, hence leaves without an owner.
pub(crate) fn fields_of(kind: &Kind, subresource: Option<Subresource>) -> &FieldSet {
    match subresource {
        Some(Subresource::Status | Subresource::Approval) => kind.reset_by_status(),
        None | Some(Subresource::Finalize) if kind.has_status() => &STATUS,
        _ => &NOTHING,
    }
}
