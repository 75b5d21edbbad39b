//! EndpointSlice.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::kind::{Kind};

/// EndpointSlice.
pub static KIND: Kind = Kind {
    singular: "endpointslice",
    ..Kind::of::<EndpointSlice>()
};
