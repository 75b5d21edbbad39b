//! What the kinds of group `resource.k8s.io` share: requests for devices, their configuration, names.
//!
//! Rules, paths and texts are upstream's (`pkg/apis/resource/validation`). Fields of features that 1.35 has switched off
//! are dropped, as upstream does: taints, shared counters, consumable capacity, binding conditions, extended resources.
//! Selectors in CEL are not compiled.

pub(crate) mod claim;
pub(crate) mod config;
pub(crate) mod device;
pub(crate) mod names;
pub(crate) mod status;
