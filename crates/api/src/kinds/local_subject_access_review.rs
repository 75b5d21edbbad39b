//! LocalSubjectAccessReview: May this user do that in this namespace? (upstream
//! `pkg/registry/authorization/localsubjectaccessreview`).

use k8s_openapi::api::authorization::v1::LocalSubjectAccessReview;

use crate::kind::{Kind, Review};

/// LocalSubjectAccessReview.
pub static KIND: Kind = Kind {
    singular: "localsubjectaccessreview",
    review: Some(Review::LocalAccess),
    ..Kind::of::<LocalSubjectAccessReview>()
};
