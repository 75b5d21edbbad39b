//! The production transport: gRPC over mutual TLS on the peer port.
//!
//! Each side proves with a certificate of the peers' own CA that it is replica N (`tls`), and names its cluster in
//! each call. Two connections a peer: Raft's short messages do not queue behind snapshots.

mod client;
mod server;
mod tls;

pub(crate) use client::Client;
pub(crate) use server::{Server, bind};
pub(crate) use tls::Keys;

/// Metadata that names the caller's cluster.
const CLUSTER: &str = "kontiki-cluster-id";
