//! Binding: gives a pod its node (upstream `pkg/registry/core/pod/storage`). The older of two ways, the other being the
//! pod's own subresource; done at once and never stored.

use k8s_openapi::api::core::v1::Binding;

use crate::kind::{BuiltIn, Kind, Review};

/// Binding.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "binding",
    review: Some(Review::Binding),
    ..BuiltIn::of::<Binding>()
});
