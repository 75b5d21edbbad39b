//! Processor time and memory of processes, as the kernel counts them.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use crate::local::layout::Layout;
use crate::local::process::Process;

/// The kernel's unit in `/proc/PID/stat`: `USER_HZ` is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);
/// Places of `utime` and `stime` behind the process's name.
const UTIME_IDX: usize = 11;
const STIME_IDX: usize = 12;

/// Processor time of this process and of a local cluster's, by name.
pub fn cpu(local: Option<&Layout>) -> Vec<(String, Duration)> {
    let processes = local.map(Process::all).unwrap_or_default();
    let own = cpu_of("self").map(|used| ("client".to_owned(), used));
    let others = processes.into_iter().filter_map(|process| {
        let used = cpu_of(&process.pid()?.to_string())?;
        Some((process.name, used))
    });
    own.into_iter().chain(others).collect()
}

/// What each used between two looks.
pub fn between(
    before: &[(String, Duration)],
    after: &[(String, Duration)],
) -> Vec<(String, Duration)> {
    let used = |(name, now): &(String, Duration)| {
        let then = before.iter().find(|(other, _)| other == name);
        let then = then.map_or(Duration::ZERO, |(_, then)| *then);
        (name.clone(), now.saturating_sub(then))
    };
    after.iter().map(used).collect()
}

fn cpu_of(pid: &str) -> Option<Duration> {
    ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|ticks| TICK * ticks)
}

/// Resident bytes of a local cluster's processes, by name.
pub fn resident(local: &Layout) -> Vec<(String, u64)> {
    of_status(local, "VmRSS:")
}

/// The most that was resident since `forget_peak`.
pub fn peak(local: &Layout) -> Vec<(String, u64)> {
    of_status(local, "VmHWM:")
}

/// Lets the kernel count peaks of resident memory anew.
pub fn forget_peak(local: &Layout) -> Result<()> {
    for process in Process::all(local) {
        if let Some(pid) = process.pid() {
            // 5 resets the peak (proc(5)).
            fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        }
    }
    Ok(())
}

fn of_status(local: &Layout, field: &str) -> Vec<(String, u64)> {
    let read = |process: Process| {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid()?)).ok()?;
        Some((process.name, status_bytes(&status, field)?))
    };
    Process::all(local).into_iter().filter_map(read).collect()
}

/// By how much each grew, by name.
pub fn grown(before: &[(String, u64)], after: &[(String, u64)]) -> Vec<(String, u64)> {
    let grown = |(name, now): &(String, u64)| {
        let then = before.iter().find(|(other, _)| other == name);
        (
            name.clone(),
            now.saturating_sub(then.map_or(0, |(_, then)| *then)),
        )
    };
    after.iter().map(grown).collect()
}

fn status_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn ticks(stat: &str) -> Option<u32> {
    // The name may contain anything but is in the last parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |idx: usize| fields.get(idx)?.parse::<u32>().ok();
    Some(number(UTIME_IDX)? + number(STIME_IDX)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_add_up() {
        let stat = "7 (a) (b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 9 9 20 0 4 0 100 1 1";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn resident_memory_is_one_line_of_the_status() {
        let status = "VmPeak:\t   90 kB\nVmRSS:\t   42 kB\nRssAnon:\t 30 kB\n";
        assert_eq!(status_bytes(status, "VmRSS:"), Some(42 * 1024));
        assert_eq!(status_bytes("Threads:\t4\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_used_some() {
        let found = cpu(None);
        assert_eq!(found[0].0, "client");
        let later = vec![("client".to_owned(), found[0].1 + TICK)];
        assert_eq!(between(&found, &later), [("client".to_owned(), TICK)]);
    }
}
