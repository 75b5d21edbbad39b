//! SelfSubjectReview: Who am I? (upstream `pkg/registry/authentication/selfsubjectreview`).

use k8s_openapi::api::authentication::v1::SelfSubjectReview;

use crate::kind::{BuiltIn, Kind, Review};

/// SelfSubjectReview.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "selfsubjectreview",
    namespaced: false,
    review: Some(Review::Myself),
    ..BuiltIn::of::<SelfSubjectReview>()
});
