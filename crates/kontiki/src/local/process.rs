//! Processes of a local cluster: started detached, found again by their pid files, ended by id.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::layout::Layout;
use crate::files;

/// The binary, as the kernel names its processes.
const PROGRAM: &str = "kontiki";

/// Environment variable that tells a server or agent to leave its parent's session.
pub const DETACHED: &str = "KONTIKI_DETACHED";
/// How long a process gets to end by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// A process of the cluster, by name.
#[derive(Debug, Clone)]
pub struct Process {
    /// `server-1`, `node-1`.
    pub name: String,
    pid_file: PathBuf,
    config: PathBuf,
    log: PathBuf,
}

impl Process {
    /// The process called `name`, running or not.
    pub fn new(layout: &Layout, name: &str) -> Self {
        Self {
            name: name.into(),
            pid_file: layout.run().join(format!("{name}.pid")),
            config: layout.config(name),
            log: layout.logs().join(format!("{name}.log")),
        }
    }

    /// All processes that have a pid file, agents first.
    pub fn all(layout: &Layout) -> Vec<Self> {
        let mut names: Vec<String> = fs::read_dir(layout.run())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                entry
                    .file_name()
                    .to_str()?
                    .strip_suffix(".pid")
                    .map(ToOwned::to_owned)
            })
            .collect();
        names.sort();
        names.iter().map(|name| Self::new(layout, name)).collect()
    }

    /// Its id while it runs; a reused id of some other program does not count. A process that is ending has lost its
    /// command line but may hold its ports still: it runs until its last thread is gone.
    pub fn pid(&self) -> Option<Pid> {
        let pid: i32 = fs::read_to_string(&self.pid_file)
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = self.config.to_string_lossy();
        let command = String::from_utf8_lossy(&command);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, rest) = stat.rsplit_once(") ")?;
        let is_ours = if command.is_empty() {
            name.ends_with(&format!("({PROGRAM}"))
        } else {
            command.contains(&*config)
        };
        let n_threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        let has_ended = rest.starts_with('Z') && n_threads <= 1;
        (is_ours && !has_ended).then(|| Pid::from_raw(pid))
    }

    /// Starts it unless it runs; tells whether it did.
    pub fn ensure(&self, subcommand: &str) -> Result<bool> {
        if self.pid().is_some() {
            return Ok(false);
        }
        self.start(subcommand).map(|()| true)
    }

    /// Starts `kontiki SUBCOMMAND --config FILE`, its output going to the log.
    fn start(&self, subcommand: &str) -> Result<()> {
        for folder in [&self.pid_file, &self.log] {
            files::create_private_dir(folder.parent().unwrap_or(Path::new("/")))?;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let child = Command::new(std::env::current_exe()?)
            .arg(subcommand)
            .arg("--config")
            .arg(&self.config)
            .env(DETACHED, "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        files::write_private(&self.pid_file, format!("{}\n", child.id()).as_bytes())
    }

    /// Fails with the end of its log when it is no longer running.
    pub fn check_running(&self) -> Result<()> {
        if self.pid().is_some() {
            return Ok(());
        }
        bail!(
            "{} ended: {} (whole log: {})",
            self.name,
            self.last_line(),
            self.log.display()
        )
    }

    fn last_line(&self) -> String {
        const TAIL_BYTES: u64 = 4096;
        let tail = || -> std::io::Result<String> {
            let mut file = fs::File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        };
        let text = tail().unwrap_or_default();
        text.lines()
            .last()
            .unwrap_or("it left no message")
            .to_owned()
    }

    /// Asks it to end, waits, and at last ends it.
    pub async fn stop(&self) -> Result<()> {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGTERM);
            if !self.wait_gone(STOP_TIMEOUT).await {
                let _ = kill(pid, Signal::SIGKILL);
                if !self.wait_gone(STOP_TIMEOUT).await {
                    bail!("{} (process {pid}) does not end", self.name);
                }
            }
        }
        let _ = fs::remove_file(&self.pid_file);
        Ok(())
    }

    async fn wait_gone(&self, timeout: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + timeout;
        while self.pid().is_some() {
            if tokio::time::Instant::now() > deadline {
                return false;
            }
            reap();
            tokio::time::sleep(POLL).await;
        }
        true
    }
}

/// Takes the exit codes of ended children, so that they do not linger as zombies.
pub fn reap() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}
