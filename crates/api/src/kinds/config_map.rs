//! ConfigMap.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::kind::{Kind};

/// ConfigMap.
pub static KIND: Kind = Kind {
    singular: "configmap", short_names: &["cm"],
    ..Kind::of::<ConfigMap>()
};
