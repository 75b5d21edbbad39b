//! TokenReview: Whose token is it? (upstream `pkg/registry/authentication/tokenreview`).

use k8s_openapi::api::authentication::v1::TokenReview;

use crate::kind::{BuiltIn, Kind, Review};

/// TokenReview.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "tokenreview",
    namespaced: false,
    review: Some(Review::Token),
    ..BuiltIn::of::<TokenReview>()
});
