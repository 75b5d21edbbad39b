//! A whole cluster on this machine: what `up` lays out and `down` takes away.

pub mod docker;
pub mod layout;
pub mod process;
pub mod settings;
