//! Secret.

use k8s_openapi::api::core::v1::Secret;

use crate::kind::{Kind};

/// Secret.
pub static KIND: Kind = Kind {
    singular: "secret",
    ..Kind::of::<Secret>()
};
