//! The layout of a replica's data directory, and whose it is.
//!
//! ```text
//! identity      cluster and replica, written once
//! log/          RocksDB: entries, vote, committed index
//! watermark     what was acknowledged, apart from the log so that a lost tail shows
//! state/        generations of the state database and a pointer to the one in use
//! snapshots/    the newest snapshot; `incoming-*` while one arrives
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Sealer, files};

/// Whose directory it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: String,
    /// The replica.
    pub replica_id: u64,
}

/// A replica's data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
    sealer: Sealer,
}

impl DataDir {
    /// Opens or makes the directory for a replica; refuses another's.
    pub fn open(root: &Path, identity: &Identity) -> Result<Self, Error> {
        let dir = Self {
            root: root.to_owned(),
            sealer: Sealer::off(),
        };
        files::make_dir(root)?;
        match dir.identity()? {
            Some(found) if found == *identity => {}
            Some(found) => {
                return Err(Error::OtherOwner {
                    path: root.to_owned(),
                    found: format!("{} of cluster {}", found.replica_id, found.cluster_id),
                    wanted: format!("{} of cluster {}", identity.replica_id, identity.cluster_id),
                });
            }
            None => dir.claim(identity)?,
        }
        files::make_dir(&dir.snapshots())?;
        Ok(dir)
    }

    /// Makes a directory that must not hold anything yet.
    pub fn create(root: &Path, identity: &Identity) -> Result<Self, Error> {
        files::make_dir(root)?;
        if !files::names(root)?.is_empty() {
            return Err(Error::NotEmpty(root.to_owned()));
        }
        Self::open(root, identity)
    }

    /// A directory that exists, whoever owns it.
    pub fn existing(root: &Path) -> Result<(Self, Identity), Error> {
        let dir = Self {
            root: root.to_owned(),
            sealer: Sealer::off(),
        };
        let identity = dir.identity()?;
        let identity =
            identity.ok_or_else(|| Error::damaged(root, "no replica's data directory"))?;
        Ok((dir, identity))
    }

    /// What is stored from now on is sealed by this sealer, what is read is opened by it.
    pub fn sealed_by(self, sealer: Sealer) -> Self {
        Self { sealer, ..self }
    }

    /// Seals and opens what lies here.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Where everything is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The log's database.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where the log's promises are kept.
    pub fn watermark(&self) -> PathBuf {
        self.root.join("watermark")
    }

    /// Generations of the state's database.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    fn identity(&self) -> Result<Option<Identity>, Error> {
        let path = self.root.join("identity");
        let Some(content) = files::read(&path)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&content);
        let parsed = text.trim().split_once(' ').and_then(|(replica, cluster)| {
            let replica_id = replica.parse().ok()?;
            Some(Identity {
                cluster_id: cluster.to_owned(),
                replica_id,
            })
        });
        parsed
            .map(Some)
            .ok_or_else(|| Error::damaged(&path, "not `REPLICA CLUSTER`"))
    }

    /// Marks an unclaimed directory. One that already holds a log without saying whose is refused.
    fn claim(&self, identity: &Identity) -> Result<(), Error> {
        if self.log().exists() {
            return Err(Error::damaged(&self.root, "a log without an identity file"));
        }
        let line = format!("{} {}\n", identity.replica_id, identity.cluster_id);
        files::replace(&self.root.join("identity"), line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_has_one_owner_and_tight_modes() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("data");
        let one = Identity {
            cluster_id: "c one".into(),
            replica_id: 1,
        };
        DataDir::open(&root, &one).unwrap();
        assert_eq!(DataDir::existing(&root).unwrap().1, one);
        DataDir::open(&root, &one).unwrap();
        let other = Identity {
            replica_id: 2,
            ..one.clone()
        };
        let error = DataDir::open(&root, &other).unwrap_err().to_string();
        assert!(
            error.contains("belongs to replica 1 of cluster c one"),
            "{error}"
        );
        assert!(matches!(
            DataDir::create(&root, &one),
            Err(Error::NotEmpty(_))
        ));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root), 0o700);
        assert_eq!(mode(&root.join("identity")), 0o600);
    }
}
