//! Every limit of the system, with the relations between them checked at compile time.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Largest stored object, in bytes of canonical JSON (etcd's default request limit, which clients know).
pub const OBJECT_BYTES: usize = 1536 * KIB;
/// Largest request body, in bytes (kube-apiserver's `MaxRequestBodyBytes`).
pub const REQUEST_BYTES: usize = 3 * MIB;
/// A log entry stops taking further proposals at this size, in bytes.
pub const ENTRY_SOFT_BYTES: usize = MIB;
/// Largest single proposal, in bytes: a transaction of a few objects.
pub const PROPOSAL_BYTES: usize = 4 * MIB;
/// Largest gRPC message between peers and with agents, in bytes.
pub const RPC_MESSAGE_BYTES: usize = 8 * MIB;
/// Operations in one proposal.
pub const PROPOSAL_OPS: usize = 4096;
/// Proposals waiting in one lane.
pub const LANE_PROPOSALS: usize = 16 * KIB;
/// Bytes waiting in one lane.
pub const LANE_BYTES: usize = 64 * MIB;
/// Longest wait for a proposal's outcome.
pub const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a linearizable read.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of watch events kept per resource.
pub const RING_BYTES: usize = 8 * MIB;
/// Events kept per resource.
pub const RING_EVENTS: usize = 16 * KIB;
/// Watches open on one replica.
pub const WATCHES: usize = 10_000;
/// Of which one user may have so many: the rest stays for the others.
pub const WATCHES_PER_USER: usize = WATCHES / 4 * 3;
/// Events a watcher takes from the ring at once.
pub const WATCH_BATCH: usize = 256;
/// Bytes of events, or of objects, after which a piece of a gateway's feed leaves.
pub const FEED_BYTES: usize = MIB;
/// Rings that a gateway keeps: one for each version of a kind that is watched there. Past it, watches go to a replica.
pub const GATEWAY_RINGS: usize = 256;
/// Connections of a gateway to one replica; each carries `STREAMS_PER_CONNECTION` requests.
pub const GATEWAY_CONNECTIONS: usize = 8;
/// Bytes that wait in either direction of a request that a gateway passes on.
pub const GATEWAY_STREAM_BYTES: usize = 64 * KIB;
/// Largest page of a list when the client names none; 0 in Kubernetes means all.
pub const PAGE_ITEMS: usize = 10_000;
/// How long a continue token stays valid.
pub const CONTINUE_TTL: Duration = Duration::from_secs(300);
/// Nesting of JSON bodies.
pub const NESTING_DEPTH: usize = 100;
/// Nesting of YAML bodies: their reader takes tens of kilobytes of stack a level where nothing optimises it.
pub const YAML_NESTING_DEPTH: usize = 50;
/// Operations of one JSON patch (kube-apiserver's `maxJSONPatchOperations`).
pub const PATCH_OPS: usize = 10_000;
/// Connections accepted by one replica.
pub const CONNECTIONS: usize = 16 * KIB;
/// Concurrent HTTP/2 streams of one connection.
pub const STREAMS_PER_CONNECTION: u32 = 256;
/// Requests served at once by one replica, watches and what flow control exempts aside.
pub const REQUESTS_IN_FLIGHT: u32 = 1024;
/// Longest wait for a TLS handshake and for request headers.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Agents' sessions on one replica.
pub const SESSIONS: usize = 120_000;
/// Messages waiting towards one agent.
pub const SESSION_QUEUE: usize = 256;
/// Tunnels open on one replica.
pub const TUNNELS: usize = 4096;
/// Bytes that a tunnel passes on at once.
pub const TUNNEL_CHUNK_BYTES: usize = 64 * KIB;
/// Such chunks that wait in one direction of a tunnel, at each place that passes them on.
pub const TUNNEL_CHUNKS: usize = 8;
/// Bytes of one snapshot chunk.
pub const SNAPSHOT_CHUNK_BYTES: usize = MIB;
/// Attempts of a read-modify-write inside the server before a conflict goes to the client.
pub const UPDATE_RETRIES: usize = 5;
/// Keys a controller's work queue holds.
pub const WORK_QUEUE_KEYS: usize = 1 << 20;
/// Pods that the scheduler binds in one proposal.
pub const BINDINGS_PER_PROPOSAL: usize = 500;
/// Bytes of log that a container keeps on a node.
pub const CONTAINER_LOG_BYTES: usize = 10 * MIB;
/// Records that wait to be written into the audit log (upstream's `--audit-log-batch-buffer-size`).
pub const AUDIT_QUEUE_ENTRIES: usize = 10_000;
/// Bytes of such records.
pub const AUDIT_QUEUE_BYTES: usize = 32 * MIB;
/// Largest object in a record of the audit log; a larger one is left out, and the record says so.
pub const AUDIT_OBJECT_BYTES: usize = 4 * MIB;
/// Annotations of one object, in bytes (upstream `TotalAnnotationSizeLimitB`).
pub const ANNOTATION_BYTES: usize = 256 * KIB;
/// Bytes of a webhook's reply: a patch may replace a whole object.
pub const WEBHOOK_REPLY_BYTES: usize = 4 * MIB;
/// Bytes of the list of resources that an aggregated API server tells.
pub const EXTENSION_DISCOVERY_BYTES: usize = 4 * MIB;
/// Connections to extensions that are kept open without a request.
pub const OUTBOUND_IDLE_CONNECTIONS: usize = 64;
/// Longest wait for a connection to an extension, its TLS handshake included.
pub const OUTBOUND_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(OBJECT_BYTES < WEBHOOK_REPLY_BYTES);
const _: () = assert!(OBJECT_BYTES < REQUEST_BYTES);
const _: () = assert!(REQUEST_BYTES < PROPOSAL_BYTES);
const _: () = assert!(ENTRY_SOFT_BYTES + PROPOSAL_BYTES < RPC_MESSAGE_BYTES);
const _: () = assert!(SNAPSHOT_CHUNK_BYTES < RPC_MESSAGE_BYTES);
const _: () = assert!(FEED_BYTES + 2 * OBJECT_BYTES + MIB < RPC_MESSAGE_BYTES);
const _: () = assert!(GATEWAY_STREAM_BYTES < RPC_MESSAGE_BYTES);
const _: () = assert!(BINDINGS_PER_PROPOSAL <= PROPOSAL_OPS);
const _: () = assert!(PROPOSAL_BYTES <= LANE_BYTES);
const _: () = assert!(OBJECT_BYTES < RING_BYTES);
const _: () = assert!(REQUEST_BYTES < AUDIT_OBJECT_BYTES && AUDIT_OBJECT_BYTES < AUDIT_QUEUE_BYTES);
