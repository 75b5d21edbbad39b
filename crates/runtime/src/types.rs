//! What the runtime trait speaks of.

use std::collections::BTreeMap;

/// Which namespace a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Namespace {
    /// One of its own.
    #[default]
    Private,
    /// The machine's.
    Host,
    /// That of another container, by id.
    Of(String),
}

/// A folder or file of the machine seen inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Path on the machine.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// `rprivate`, `rslave` or `rshared`; empty for the engine's default.
    pub propagation: &'static str,
}

/// What to create.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerSpec {
    /// Unique name.
    pub name: String,
    /// Image reference or id.
    pub image: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Replaces the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub cmd: Option<Vec<String>>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// `uid[:gid]`.
    pub user: Option<String>,
    /// Supplemental groups.
    pub groups: Vec<String>,
    /// Whether standard input stays open.
    pub stdin: bool,
    /// Whether a terminal is allocated.
    pub tty: bool,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// `Private` means: no network but loopback; the agent connects it.
    pub network: Namespace,
    /// Inter-process communication.
    pub ipc: Namespace,
    /// Process ids.
    pub pid: Namespace,
    /// Host name, for containers with a network of their own.
    pub hostname: Option<String>,
    /// Relative CPU weight.
    pub cpu_shares: Option<i64>,
    /// Microseconds of CPU per 100 ms.
    pub cpu_quota_us: Option<i64>,
    /// Memory limit.
    pub memory_bytes: Option<i64>,
    /// 0 to 1000.
    pub oom_score_adj: i64,
    /// Everything allowed.
    pub privileged: bool,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Whether the root file system is read-only.
    pub read_only_root: bool,
    /// Whether set-uid programs gain nothing.
    pub no_new_privileges: bool,
    /// Without system call filter.
    pub seccomp_unconfined: bool,
    /// Kernel settings of the namespaces.
    pub sysctls: BTreeMap<String, String>,
}

/// Where a container is in its life. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Not started yet.
    Created,
    /// Running.
    Running {
        /// Start.
        started_ms: u64,
    },
    /// Ended.
    Exited {
        /// Exit code.
        code: i32,
        /// Ended by the kernel for lack of memory.
        oom: bool,
        /// Start; 0 when it never ran.
        started_ms: u64,
        /// End.
        finished_ms: u64,
        /// What the engine said about a failed start.
        error: String,
    },
}

impl Run {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self, Run::Running { .. })
    }
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Engine's id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// State.
    pub run: Run,
    /// Process id of its first process on the machine, 0 when none.
    pub pid: u32,
    /// Image reference it was created from.
    pub image: String,
    /// Image id.
    pub image_id: String,
    /// Signal that asks it to end.
    pub stop_signal: String,
    /// When it was created.
    pub created_ms: u64,
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Engine's id.
    pub id: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs.
    pub running: bool,
}

/// A local image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Engine's id (`sha256:...`).
    pub id: String,
    /// `repository@sha256:...`, when it came from a registry.
    pub digests: Vec<String>,
    /// User that the image wants.
    pub user: String,
    /// Size.
    pub size_bytes: u64,
}

/// The engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// `docker://20.10.24`.
    pub version: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// `6.1.0-18-amd64`.
    pub kernel_version: String,
    /// Where images and containers are stored.
    pub root_dir: String,
}

/// Which part of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Go on until the container ends.
    pub follow: bool,
    /// Prefix each line with its time.
    pub timestamps: bool,
    /// Only so many last lines.
    pub tail_lines: Option<i64>,
    /// Only lines after.
    pub since_unix_s: Option<i64>,
}

/// What a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Processor time since its start, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory, with caches.
    pub memory_bytes: u64,
    /// Memory without caches of files that are not in use.
    pub working_set_bytes: u64,
}

/// A finished command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecResult {
    /// Exit code.
    pub code: i32,
    /// The first part of its output.
    pub output: String,
}

/// What happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It runs.
    Started,
    /// It ended.
    Died,
    /// It is gone.
    Removed,
}

/// A change of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Container id.
    pub id: String,
    /// Its pod, from the label.
    pub pod_uid: String,
    /// What happened.
    pub kind: EventKind,
}
