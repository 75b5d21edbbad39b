//! Agreement between the replicas: proposals in, one order of applied commands out, linearizable reads,
//! membership, and calls from replica to replica. openraft is named here and nowhere else.
//!
//! Deliberately absent: what a command means (`kontiki-state`), how bytes reach the disk (`kontiki-storage`),
//! users, objects and HTTP (`kontiki-apiserver`).

mod call;
mod config;
mod consensus;
mod error;
mod grpc;
mod inbound;
mod log;
mod machine;
mod membership;
mod network;
pub mod offline;
mod proposer;
mod reads;
mod replica;
mod sealing;
mod start;
mod succession;
mod tend;
pub mod transport;
mod types;

pub use call::{CallHandler, CallStream};
pub use config::{Config, Member, PeerTls, ReplicaId, Retention, Timing};
pub use consensus::{Consensus, Lane, Leadership, Status};
pub use error::{CallError, MembershipError, ProposeError, ReadError, StartError};
pub use kontiki_storage::{KEYRING, KeyId, KeyInfo, Resources, Sealing, Tally};
pub use sealing::Encryption;
