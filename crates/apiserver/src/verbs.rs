//! The verbs, one file each; all are methods of [`crate::ApiServer`].

pub(crate) mod connect;
mod create;
pub(crate) mod delete;
mod get;
mod list;
mod logs;
pub(crate) mod patch;
pub(crate) mod proxy;
pub(crate) mod update;
pub(crate) mod watch;
