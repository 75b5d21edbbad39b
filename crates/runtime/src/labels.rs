//! Labels that every container of ours carries: by them the agent finds its own after a restart, and nobody else's.

/// Cluster id.
pub const CLUSTER: &str = "kontiki.cluster";
/// Node name.
pub const NODE: &str = "kontiki.node";
/// Pod uid.
pub const POD_UID: &str = "kontiki.pod-uid";
/// Pod namespace.
pub const POD_NAMESPACE: &str = "kontiki.pod-namespace";
/// Pod name.
pub const POD_NAME: &str = "kontiki.pod-name";
/// Container name within the pod; `POD` for the pause container.
pub const CONTAINER: &str = "kontiki.container";
/// How often the container had been started before: 0 for the first.
pub const ATTEMPT: &str = "kontiki.attempt";
/// The pod's address, on the pause container; absent for pods on the host's network.
pub const POD_IP: &str = "kontiki.pod-ip";
/// Image as the pod spec spells it.
pub const IMAGE: &str = "kontiki.image";
/// Termination grace in seconds, so that a pod without a spec still ends as it wished.
pub const GRACE: &str = "kontiki.grace-seconds";
/// Termination message path within the container.
pub const MESSAGE_PATH: &str = "kontiki.termination-message-path";

/// The value of [`CONTAINER`] on pause containers (dockershim's word).
pub const PAUSE: &str = "POD";
