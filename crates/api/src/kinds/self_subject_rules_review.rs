//! SelfSubjectRulesReview: What may I do in a namespace? (upstream
//! `pkg/registry/authorization/selfsubjectrulesreview`).

use k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;

use crate::kind::{Kind, Review};

/// SelfSubjectRulesReview.
pub static KIND: Kind = Kind {
    singular: "selfsubjectrulesreview",
    namespaced: false,
    review: Some(Review::SelfRules),
    ..Kind::of::<SelfSubjectRulesReview>()
};
