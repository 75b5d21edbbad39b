//! Namespace.

use k8s_openapi::api::core::v1::Namespace;

use crate::kind::{Kind, Subresource};

/// Namespace.
pub static KIND: Kind = Kind {
    singular: "namespace", short_names: &["ns"], namespaced: false, subresources: &[Subresource::Status, Subresource::Finalize],
    ..Kind::of::<Namespace>()
};
