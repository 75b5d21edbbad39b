//! The servers' side of the node protocol: agents' sessions, heartbeats in memory, assignments out, statuses in,
//! tunnels. It runs on every replica; an agent opens its session to any of them.
//!
//! The way of a pod: the scheduler binds it → its node's session wakes (an index of the store knows whom) → an
//! assignment goes out → statuses come back and are proposed in batches → a terminated, deleted pod is removed.
//!
//! Deliberately absent: deciding that a node is lost (`kontiki-controllers`), which pod runs where (the scheduler),
//! TLS (the listener verifies certificates and hands them on as `PeerCert`).

mod assignment;
mod backend;
mod dispatcher;
mod events;
mod feed;
mod heartbeats;
mod identity;
mod node_object;
mod pod_status;
mod pod_tokens;
mod references;
mod service;
mod session;
mod sessions;
mod statuses;
mod tunnel;
mod tunnel_calls;
mod write;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use backend::Backend;
pub use dispatcher::{Dispatcher, Options};
pub use service::NodeServiceHandler;
