//! Node.

use k8s_openapi::api::core::v1::Node;

use crate::kind::{Kind, Subresource};

/// Node.
pub static KIND: Kind = Kind {
    singular: "node", short_names: &["no"], namespaced: false, subresources: &[Subresource::Status],
    ..Kind::of::<Node>()
};
