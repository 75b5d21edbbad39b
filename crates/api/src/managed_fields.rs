//! Who set which field: `metadata.managedFields`, kept at every write, and server-side apply, which decides by them.
//! After structured-merge-diff v6 and `apimachinery/pkg/util/managedfields`.
//!
//! Here and not in `apiserver`, since controllers, scheduler and dispatcher write past it and have to note what they
//! own too: fields cannot be given an owner later. All that it needs is a kind's schema.
//!
//! `fieldset` is the algebra, `walk` and `merge` go over trees along a schema, `entries` and `managed` read and write
//! the list, `writer` notes what a write changed, `apply` is server-side apply.
//!
//! Deliberately absent: clocks (a writer brings the time), requests, the store.

mod apply;
mod conflict;
mod entries;
pub(crate) mod fieldset;
mod managed;
mod merge;
mod reset;
mod shape;
mod walk;
mod writer;

#[cfg(test)]
mod tests;

pub use managed::equal_but_times;
pub use shape::Shape;
pub use writer::Writer;
