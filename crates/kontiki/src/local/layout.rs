//! Where `up` keeps what: the paths under its data directory.

use std::path::{Path, PathBuf};

/// Paths of a local cluster.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout below `dir`, made absolute so that it means the same to every process.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()),
        }
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// A bearer token with the administrator's rights, for scripts.
    pub fn admin_token(&self) -> PathBuf {
        self.dir.join("admin-token")
    }

    /// What this cluster was made with.
    pub fn settings(&self) -> PathBuf {
        self.dir.join("cluster.toml")
    }

    /// Authorities and the administrator's certificate.
    pub fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// Process ids, one file each.
    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Logs, one file a process.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Data of a process (`server-1`, `node-1`).
    pub fn data(&self, name: &str) -> PathBuf {
        self.dir.join("data").join(name)
    }

    /// Config file of a process.
    pub fn config(&self, name: &str) -> PathBuf {
        self.dir.join("config").join(format!("{name}.toml"))
    }
}
