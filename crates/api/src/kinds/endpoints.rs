//! Endpoints.

use k8s_openapi::api::core::v1::Endpoints;

use crate::kind::{Kind};

/// Endpoints.
pub static KIND: Kind = Kind {
    singular: "endpoints", short_names: &["ep"],
    ..Kind::of::<Endpoints>()
};
