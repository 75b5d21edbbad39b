//! What the machine says about itself: boot id, host name, memory, disk.

use std::path::Path;

use crate::config::{Capacity, DEFAULT_PODS};

/// The kernel's id of this boot.
pub fn boot_id() -> String {
    read("/proc/sys/kernel/random/boot_id")
}

/// The machine's id.
pub fn machine_id() -> String {
    let id = read("/etc/machine-id");
    if id.is_empty() {
        read("/var/lib/dbus/machine-id")
    } else {
        id
    }
}

/// `amd64`, `arm64`: Go's words, as nodes are labelled.
pub const fn architecture() -> &'static str {
    kontiki_runtime::images::architecture()
}

/// CPUs, memory and disk of this machine.
pub fn capacity(data_dir: &Path) -> Capacity {
    let n_cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    Capacity {
        cpu_milli: n_cpus * 1000,
        memory_bytes: memory_bytes("MemTotal"),
        ephemeral_storage_bytes: disk(data_dir).0,
        pods: DEFAULT_PODS,
    }
}

/// A line of `/proc/meminfo`, in bytes.
pub fn memory_bytes(name: &str) -> u64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(':'))
    });
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// Processor time that the machine has used since its start, in nanoseconds.
pub fn cpu_ns() -> u64 {
    /// The kernel counts in hundredths of a second, whatever it is built with (`USER_HZ`).
    const TICK_NS: u64 = 10_000_000;
    let text = read("/proc/stat");
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; what guests use is in the first two.
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|idx| ticks.get(*idx));
    busy.sum::<u64>().saturating_mul(TICK_NS)
}

/// Size and free space of the disk that holds a path, in bytes.
pub fn disk(path: &Path) -> (u64, u64) {
    let existing = path
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    nix::sys::statvfs::statvfs(existing).map_or((0, 0), |stat| {
        let block = stat.fragment_size();
        (stat.blocks() * block, stat.blocks_available() * block)
    })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}
