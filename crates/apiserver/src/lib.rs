//! The verbs of the Kubernetes API, protocol-neutral: who may, is the body right, what is proposed, what is
//! answered. The gateway (REST) and rpc (gRPC) are two thin faces of [`ApiServer`].
//!
//! The road of a write: authorize ▸ schema check ▸ strategy (`prepare_*`) ▸ default ▸ validate ▸ managed fields ▸
//! one proposal. The road of a read: authorize ▸ barrier or a wait for a revision ▸ snapshot.
//!
//! Deliberately absent: URLs, content types, HTTP (gateway); kinds (`kontiki-api`); the log (`kontiki-consensus`).

pub mod authn;
mod authz;
pub mod backend;
mod body;
mod options;
mod server;
mod tunnel;
mod verbs;

pub use backend::Backend;
pub use body::Body;
pub use options::{
    Answer, Context, DeleteOptions, FieldValidation, GetOptions, ListOptions, Page, PatchType,
    Propagation, Target, User, WatchEvent, WatchOptions, WriteOptions, Written,
};
pub use server::{ApiServer, Options};
pub use tunnel::{LogOptions, LogRequest, LogStream, NodeLiveness, NodeTunnel, NoNodes};
pub use verbs::WatchStream;
