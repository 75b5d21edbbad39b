//! Real clients against a live cluster: what people type and what their programs send.
//!
//! kubectl is the one that `KUBECTL` names, so that one run of this suite per version holds all supported versions.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod certificates;
mod drain;
mod gateway;
mod grpc;
mod kube_rs;
mod kubectl;
mod python;
mod schemathesis;
