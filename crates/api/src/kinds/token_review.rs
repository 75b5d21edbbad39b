//! TokenReview: Whose token is it? (upstream `pkg/registry/authentication/tokenreview`).

use k8s_openapi::api::authentication::v1::TokenReview;

use crate::kind::{Kind, Review};

/// TokenReview.
pub static KIND: Kind = Kind {
    singular: "tokenreview",
    namespaced: false,
    review: Some(Review::Token),
    ..Kind::of::<TokenReview>()
};
