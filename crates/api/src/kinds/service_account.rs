//! ServiceAccount.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::kind::{Kind};

/// ServiceAccount.
pub static KIND: Kind = Kind {
    singular: "serviceaccount", short_names: &["sa"],
    ..Kind::of::<ServiceAccount>()
};
