//! What the kinds of group `admissionregistration.k8s.io` share: which requests are meant, whom to call.
//!
//! Rules, paths and texts are upstream's (`pkg/apis/admissionregistration/validation`). Not here: calling anything, and
//! the types in CEL expressions.

pub(crate) mod client;
pub(crate) mod defaults;
pub(crate) mod match_conditions;
pub(crate) mod resources;
pub(crate) mod rules;
pub(crate) mod webhooks;
