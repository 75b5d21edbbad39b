//! SubjectAccessReview: May this user do that? (upstream
//! `pkg/registry/authorization/subjectaccessreview`).

use k8s_openapi::api::authorization::v1::SubjectAccessReview;

use crate::kind::{BuiltIn, Kind, Review};

/// SubjectAccessReview.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "subjectaccessreview",
    namespaced: false,
    review: Some(Review::Access),
    ..BuiltIn::of::<SubjectAccessReview>()
});
