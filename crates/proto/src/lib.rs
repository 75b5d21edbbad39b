//! Generated gRPC code of `proto/`, and nothing else.
//!
//! Messages stay at the edges: `consensus`, `dispatcher`, `agent` and `rpc` turn them into the project's own types.

#![allow(missing_docs, clippy::all, clippy::unwrap_used)]

/// `kontiki.api.v1`: objects, and what gateways ask.
pub mod api {
    tonic::include_proto!("kontiki.api.v1");
}
/// `kontiki.cluster.v1`: members, snapshots, tokens, join.
pub mod cluster {
    tonic::include_proto!("kontiki.cluster.v1");
}
/// `kontiki.node.v1`: the agent's session and tunnels.
pub mod node {
    tonic::include_proto!("kontiki.node.v1");
}
/// `kontiki.raft.v1`: replica to replica.
pub mod raft {
    tonic::include_proto!("kontiki.raft.v1");
}
/// Descriptors of all packages above, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kontiki.bin"));
