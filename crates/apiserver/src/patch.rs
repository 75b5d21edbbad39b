//! The patch formats: each turns (current tree, patch) into the new tree and knows nothing of storage.

pub(crate) mod json;
pub(crate) mod merge;
mod order;
pub(crate) mod strategic;
