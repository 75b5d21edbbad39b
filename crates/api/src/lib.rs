//! The kinds that Kontiki serves and all that follows from a kind: names, schema, defaulting, validation, printer
//! columns, discovery, OpenAPI. A kind is one file in `kinds/` and one line in `kinds::KINDS`.
//!
//! Deliberately absent: I/O, clocks, the store. Objects are `serde_json::Value`s here; typed structs
//! (`k8s_openapi`) live only inside defaulting and validation.

pub mod admission;
mod admissionspec;
pub mod audit;
pub mod cel;
mod conditions;
pub mod cron;
pub mod custom;
mod deprecated_labels;
mod devicespec;
pub mod discovery;
pub mod field_error;
pub mod flowcontrol;
pub mod ip;
pub mod kind;
pub mod kinds;
pub mod limit_ranger;
pub mod managed_fields;
pub mod meta;
pub mod openapi;
pub mod podsecurity;
pub mod podspec;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod rbac;
pub mod registry;
pub mod request_info;
pub mod scale;
pub mod scheduling;
pub mod schema;
pub mod selector;
pub mod semver;
pub mod stored;
pub mod table;
pub mod time;
pub mod volumes;

pub use field_error::{ErrorKind, FieldError};
pub use k8s_openapi;
pub use kind::{BuiltIn, Column, Conversion, Gvk, Hooks, Kind, Subresource};
pub use kinds::{KINDS, by_gvk, by_path, by_resource};
pub use registry::Kinds;
