//! Server-side apply and the tracking of who set which field, after structured-merge-diff v6 and
//! `apimachinery/pkg/util/managedfields`.
//!
//! [`fieldset`] is the algebra, [`walk`] and [`merge`] go over trees along a schema, [`managed`] reads and writes
//! `metadata.managedFields`, [`manager`] has the two operations: update (note what changed) and apply.

pub(crate) mod conflict;
pub(crate) mod fieldset;
pub(crate) mod managed;
pub(crate) mod manager;
pub(crate) mod merge;
pub(crate) mod shape;
pub(crate) mod walk;
