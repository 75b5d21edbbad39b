//! SelfSubjectRulesReview: What may I do in a namespace? (upstream
//! `pkg/registry/authorization/selfsubjectrulesreview`).

use k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;

use crate::kind::{BuiltIn, Kind, Review};

/// SelfSubjectRulesReview.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "selfsubjectrulesreview",
    namespaced: false,
    review: Some(Review::SelfRules),
    ..BuiltIn::of::<SelfSubjectRulesReview>()
});
