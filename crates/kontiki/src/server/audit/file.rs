//! A file that is appended to and, once it is large, renamed by the time; old ones go by number and by age.
//!
//! `audit.log` becomes `audit-2026-01-02T03-04-05.678.log`, as upstream's logs do.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use kontiki_api::time;
use kontiki_base::clock::SharedClock;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// When to begin anew, and what to keep. 0 for no limit.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    pub max_size_bytes: u64,
    pub max_backups: usize,
    pub max_age_days: u64,
}

/// The file.
pub struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    clock: SharedClock,
    /// None after a failure: opened again at the next write.
    file: Option<(File, u64)>,
}

impl LogFile {
    /// Opens a file to append to.
    pub fn open(path: &Path, rotation: Rotation, clock: SharedClock) -> Result<Self> {
        let file = Some(open(path)?);
        Ok(Self {
            path: path.to_owned(),
            rotation,
            clock,
            file,
        })
    }

    /// Appends whole lines.
    pub fn append(&mut self, lines: &[u8]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let (file, size_bytes) = match self.file.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        let after = size_bytes + lines.len() as u64;
        let limit = self.rotation.max_size_bytes;
        let (mut file, size_bytes) = if limit > 0 && size_bytes > 0 && after > limit {
            drop(file);
            self.rotate()?;
            open(&self.path)?
        } else {
            (file, size_bytes)
        };
        file.write_all(lines)
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.file = Some((file, size_bytes + lines.len() as u64));
        Ok(())
    }

    fn rotate(&self) -> Result<()> {
        let now_ms = self.clock.unix_ms();
        let (stem, suffix) = self.parts();
        let stamp = time::rfc3339_micro(now_ms).replace(':', "-");
        // By milliseconds; the trailing digits are always zero.
        let stamp = stamp.trim_end_matches('Z');
        let stamp = &stamp[..stamp.len().saturating_sub(3)];
        let old = self.path.with_file_name(format!("{stem}-{stamp}{suffix}"));
        fs::rename(&self.path, &old)
            .with_context(|| format!("cannot rename {}", self.path.display()))?;
        let mut backups = self.backups();
        // Their names sort by time.
        backups.sort_unstable();
        backups.reverse();
        for (idx, (at, backup)) in backups.iter().enumerate() {
            let Rotation {
                max_backups,
                max_age_days,
                ..
            } = self.rotation;
            let is_old = max_age_days > 0 && at + max_age_days * DAY_MS < now_ms;
            if (max_backups > 0 && idx >= max_backups) || is_old {
                fs::remove_file(backup)
                    .with_context(|| format!("cannot remove {}", backup.display()))?;
            }
        }
        Ok(())
    }

    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map_or_else(String::new, |part| part.to_string_lossy().into_owned())
        };
        let suffix = text(self.path.extension());
        let suffix = if suffix.is_empty() {
            suffix
        } else {
            format!(".{suffix}")
        };
        (text(self.path.file_stem()), suffix)
    }

    /// Files of ours that were renamed, with their times.
    fn backups(&self) -> Vec<(u64, PathBuf)> {
        let (stem, suffix) = self.parts();
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        let entries = fs::read_dir(folder.unwrap_or(Path::new(".")));
        let entries = entries.into_iter().flatten().flatten();
        let backups = entries.filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&stem)?.strip_prefix('-')?;
            let stamp = rest.strip_suffix(&suffix)?;
            let (date, clock) = stamp.split_once('T')?;
            let at = time::parse(&format!("{date}T{}Z", clock.replace('-', ":")))?;
            Some((at, entry.path()))
        });
        backups.collect()
    }
}

fn open(path: &Path) -> Result<(File, u64)> {
    let open = || -> std::io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok((file, size_bytes))
    };
    open().with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Duration;

    use kontiki_base::clock::ManualClock;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_renamed_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(dir.path().join("audit-notes.log"), "not ours").unwrap();
        let clock = ManualClock::at(1_767_225_600_000);
        let rotation = Rotation {
            max_size_bytes: 10,
            max_backups: 2,
            max_age_days: 1,
        };
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let mut log = LogFile::open(&path, rotation, shared).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for number in 0..4 {
            log.append(format!("line {number}\n").as_bytes()).unwrap();
            clock.advance(Duration::from_millis(1500));
        }
        assert_eq!(
            names(dir.path()),
            [
                "audit-2026-01-01T00-00-03.000.log",
                "audit-2026-01-01T00-00-04.500.log",
                "audit-notes.log",
                "audit.log",
            ]
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 3\n");
        clock.advance(Duration::from_secs(2 * 24 * 3600));
        log.append(b"much later\n").unwrap();
        let left = names(dir.path());
        assert_eq!(left.len(), 3, "{left:?}");
    }

    #[test]
    fn a_file_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let rotation = Rotation {
            max_size_bytes: 0,
            max_backups: 0,
            max_age_days: 0,
        };
        for line in ["a\n", "b\n"] {
            let clock = ManualClock::at(0);
            let mut log = LogFile::open(&path, rotation, clock).unwrap();
            log.append(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
    }
}
