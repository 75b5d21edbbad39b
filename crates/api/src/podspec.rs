//! Pod specs and pod templates: what every kind that makes pods shares. Defaults, validation, table cells.
//!
//! Rules, paths and texts are upstream's (`pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation`). What only
//! pods have (status, immutability, quality of service) is in `kinds/pod`.

pub mod json;
pub mod path;
pub mod selectors;

pub(crate) mod default_volumes;
pub(crate) mod defaults;
pub(crate) mod names;
pub(crate) mod placement;
pub(crate) mod print;
pub(crate) mod resources;
pub(crate) mod scaled;
pub(crate) mod validate;
pub(crate) mod volumes;
pub(crate) mod warnings;

mod containers;
mod env;
pub(crate) mod handlers;
mod mounts;
mod security;
pub(crate) mod sources;
pub mod totals;

pub use self::defaults::pull_policy;
pub use self::placement::node_selector;

pub(crate) use self::containers::image_padding;
