//! SelfSubjectAccessReview: May I do that? (upstream
//! `pkg/registry/authorization/selfsubjectaccessreview`).

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;

use crate::kind::{BuiltIn, Kind, Review};

/// SelfSubjectAccessReview.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "selfsubjectaccessreview",
    namespaced: false,
    review: Some(Review::SelfAccess),
    ..BuiltIn::of::<SelfSubjectAccessReview>()
});
