//! Event.

use k8s_openapi::api::core::v1::Event;

use crate::kind::{Kind};

/// Event.
pub static KIND: Kind = Kind {
    singular: "event", short_names: &["ev"],
    ..Kind::of::<Event>()
};
