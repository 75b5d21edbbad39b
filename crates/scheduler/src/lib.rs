//! The scheduler, pure: it is told of nodes and pods, and answers where pods go or why they cannot.
//!
//! Deliberately absent: I/O, clock, writes. The driver (`controller-manager`) feeds it from the store, proposes what
//! it decides, and tells it when a binding failed. Semantics are kube-scheduler's default profile; the words of its
//! explanations too.
//!
//! One decision: `Queue` gives the pod of highest priority; its `Class` knows what node-local plugins say of each
//! node; plugins that look at other pods run in a `Cycle`; the best node is reserved in the `Cache` at once, so that
//! hundreds of decisions may go into one proposal.

mod cache;
mod class;
mod explain;
mod framework;
mod labels;
mod node_table;
mod plugins;
mod pod_info;
mod preemption;
mod queue;
mod resources;
mod scheduler;
mod volumes;

pub use framework::{PLUGINS, Plugin};
pub use scheduler::{Decision, PodRef, Scheduler};
