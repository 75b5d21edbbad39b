//! Lease.

use k8s_openapi::api::coordination::v1::Lease;

use crate::kind::{Kind};

/// Lease.
pub static KIND: Kind = Kind {
    singular: "lease",
    ..Kind::of::<Lease>()
};
