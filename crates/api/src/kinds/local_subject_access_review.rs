//! LocalSubjectAccessReview: May this user do that in this namespace? (upstream
//! `pkg/registry/authorization/localsubjectaccessreview`).

use k8s_openapi::api::authorization::v1::LocalSubjectAccessReview;

use crate::kind::{BuiltIn, Kind, Review};

/// LocalSubjectAccessReview.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "localsubjectaccessreview",
    review: Some(Review::LocalAccess),
    ..BuiltIn::of::<LocalSubjectAccessReview>()
});
