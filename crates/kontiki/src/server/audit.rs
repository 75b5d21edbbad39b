//! The audit log as a file: reads the policy, and writes what the API server records, off the way of requests.

mod file;

use anyhow::{Context as _, Result, bail};
use kontiki_api::audit::Policy;
use kontiki_apiserver::audit::{Auditor, Entries};
use kontiki_base::clock::SystemClock;
use kontiki_base::metrics::METRICS;
use kontiki_base::task::{TaskKind, spawn};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::ServerConfig;
use crate::files;
use file::{LogFile, Rotation};

/// A log that is being written.
pub(super) struct AuditLog {
    pub(super) auditor: Auditor,
    stop: oneshot::Sender<()>,
    writer: JoinHandle<()>,
}

impl AuditLog {
    /// Starts the log that the config asks for; none when it asks for none.
    pub(super) fn start(config: &ServerConfig) -> Result<Option<Self>> {
        let (policy, path) = match (&config.audit_policy_file, &config.audit_log_file) {
            (None, None) => return Ok(None),
            (Some(policy), Some(path)) => (policy, path),
            (Some(_), None) => bail!("audit-policy-file needs audit-log-file: where to write"),
            (None, Some(_)) => bail!("audit-log-file needs audit-policy-file: what to record"),
        };
        let policy = read_policy(&files::read(policy)?)
            .with_context(|| format!("cannot use {}", policy.display()))?;
        let clock = SystemClock::shared();
        let rotation = Rotation {
            max_size_bytes: config.audit_log_max_size * MEGABYTE,
            max_backups: config.audit_log_max_backup,
            max_age_days: config.audit_log_max_age,
        };
        let log = LogFile::open(path, rotation, clock.clone())?;
        let (auditor, entries) = Auditor::new(policy, clock, config.sealed_resources()?);
        let (stop, stopping) = oneshot::channel();
        let writer = spawn(TaskKind::Housekeeping, write(entries, log, stopping));
        Ok(Some(Self {
            auditor,
            stop,
            writer,
        }))
    }

    /// Writes what is recorded so far and ends.
    pub(super) async fn close(self) {
        let _ = self.stop.send(());
        let _ = self.writer.await;
    }
}

/// As upstream's flag counts.
const MEGABYTE: u64 = 1024 * 1024;

fn read_policy(text: &str) -> Result<Policy> {
    let tree: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| {
        let text = error.to_string();
        anyhow::anyhow!("{}", text.lines().next().unwrap_or_default().to_owned())
    })?;
    Policy::read(tree).map_err(anyhow::Error::msg)
}

async fn write(mut entries: Entries, mut log: LogFile, mut stopping: oneshot::Receiver<()>) {
    loop {
        let lines = tokio::select! {
            lines = entries.lines() => lines,
            _ = &mut stopping => None,
        };
        let is_last = lines.is_none();
        let lines = lines.unwrap_or_else(|| entries.ready_lines());
        let written = tokio::task::spawn_blocking(move || {
            let written = log.append(&lines);
            (log, written)
        });
        // A panic of the writer ends the process anyway.
        let Ok((same, written)) = written.await else {
            return;
        };
        log = same;
        if let Err(error) = written {
            METRICS.audit_errors_total.inc();
            tracing::error!("the audit log is not written: {error:#}");
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_yaml_and_errors_one_line() {
        let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";
        read_policy(policy).unwrap();
        for broken in [
            "rules: [",
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n",
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Some\n",
        ] {
            let error = format!("{:#}", read_policy(broken).unwrap_err());
            assert!(!error.contains('\n') && !error.is_empty(), "{error}");
        }
    }

    #[tokio::test]
    async fn a_log_without_a_policy_is_refused() {
        let config = ServerConfig {
            audit_log_file: Some("/nonexistent/audit.log".into()),
            ..ServerConfig::default()
        };
        let error = AuditLog::start(&config).err().unwrap().to_string();
        assert!(error.contains("audit-policy-file"), "{error}");
    }
}
