//! SelfSubjectReview: Who am I? (upstream `pkg/registry/authentication/selfsubjectreview`).

use k8s_openapi::api::authentication::v1::SelfSubjectReview;

use crate::kind::{Kind, Review};

/// SelfSubjectReview.
pub static KIND: Kind = Kind {
    singular: "selfsubjectreview",
    namespaced: false,
    review: Some(Review::Myself),
    ..Kind::of::<SelfSubjectReview>()
};
