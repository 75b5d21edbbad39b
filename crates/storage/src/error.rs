//! Why storage cannot be used, and the end of the process when it cannot go on.

use std::path::{Path, PathBuf};

use crate::KeyId;

/// Storage cannot be used. Shown to operators as one line, so each says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {error}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// RocksDB refused.
    #[error("{path}: {reason}")]
    Database {
        /// Which database.
        path: PathBuf,
        /// RocksDB's words.
        reason: String,
    },
    /// Bytes that should be there are not, or differ from what was written.
    #[error("{path}: damaged: {reason}")]
    Damaged {
        /// What is damaged.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// A record is sealed with a key that is not there.
    #[error(
        "{path}: {what} is sealed with key {key}, which {keyring} does not hold; \
         put that file of keys back from a copy or a snapshot of this replica"
    )]
    KeyMissing {
        /// The database.
        path: PathBuf,
        /// The record.
        what: String,
        /// Its key.
        key: KeyId,
        /// Where keys are looked for.
        keyring: PathBuf,
    },
    /// Acknowledged entries are gone: this replica could break promises it made.
    #[error(
        "{path}: the log ends at {found} but entries up to {acknowledged} were acknowledged; \
         remove this member, empty its data directory and add it again under a new id"
    )]
    LogLost {
        /// The log.
        path: PathBuf,
        /// Where it ends now.
        found: String,
        /// What was promised.
        acknowledged: String,
    },
    /// The directory belongs to another replica or cluster.
    #[error("{path} belongs to replica {found}, not to {wanted}")]
    OtherOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        found: String,
        /// Who asked.
        wanted: String,
    },
    /// Asked of storage that was closed before.
    #[error("{0} is closed")]
    Closed(PathBuf),
    /// Something is there that would be overwritten.
    #[error("{0} is not empty; choose an empty directory")]
    NotEmpty(PathBuf),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |error| Error::Io {
            path: path.to_owned(),
            error,
        }
    }

    pub(crate) fn database(path: &Path) -> impl FnOnce(rocksdb::Error) -> Error + '_ {
        move |error| Error::Database {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Error {
        Error::Damaged {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Ends the process after a failed write or sync. Never returns, never retries.
pub(crate) fn fatal(what: &str, path: &Path, error: &dyn std::fmt::Display) -> ! {
    tracing::error!(path = %path.display(), %error, "{what} failed; ending the process");
    std::process::abort()
}
