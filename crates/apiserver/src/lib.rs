//! The verbs of the Kubernetes API, protocol-neutral: who may, is the body right, what is proposed, what is
//! answered. The gateway (REST) and rpc (gRPC) are two thin faces of [`ApiServer`].
//!
//! The road of a write: authorize ▸ decode and schema check ▸ default ▸ managed fields ▸ admit ▸ rights over content
//! ▸ strategy (`prepare_*`) ▸ addresses ▸ validate ▸ one proposal. The road of a read: authorize ▸ barrier or a wait for
//! a revision ▸ snapshot.
//!
//! Deliberately absent: URLs, content types, HTTP (gateway); kinds (`kontiki-api`); the log (`kontiki-consensus`).

pub mod admission;
pub mod aggregation;
pub mod audit;
pub mod authn;
mod authz;
pub mod backend;
mod batch;
mod body;
mod components;
mod conversion;
mod decode;
mod errors;
mod fairness;
pub mod feed;
mod follow;
mod history;
mod impersonation;
mod kinds;
mod modify;
mod node_times;
mod options;
pub mod outbound;
mod page_token;
mod patch;
pub mod relay;
mod reviews;
mod revision;
mod scale;
mod selection;
mod server;
mod service_accounts;
mod services;
mod subresources;
pub mod testing;
mod tunnel;
mod usage;
mod verbs;
mod versions;
pub mod write;

pub use backend::Backend;
pub use batch::{Operation, Outcome};
pub use body::Body;
pub use components::{Component, Components, NoComponents};
pub use fairness::{Belonging, Seat};
pub use impersonation::Impersonation;
pub use options::{
    Answer, Context, DeleteOptions, FieldValidation, GetOptions, ListOptions, Page, PatchType,
    Propagation, Target, User, WatchEvent, WatchOptions, WriteOptions, Written,
};
pub use server::{ApiServer, Options};
pub use service_accounts::{KeyError, TokenIssuer};
pub use tunnel::{
    Frame, LogOptions, LogRequest, LogStream, NoNodes, NodeLiveness, NodeRequest, NodeTunnel,
    PodPort, RemoteCommand, Tunnel, TunnelIo, channel,
};
pub use verbs::connect::{OnNode, RemoteOptions};
pub use verbs::proxy::{ProxyTo, ProxyWay};
pub use verbs::watch::WatchStream;
pub use versions::shown_item;
