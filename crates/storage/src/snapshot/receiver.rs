//! The receiving end: chunks in, a whole snapshot or nothing out.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::{INCOMING, Manifest, SnapshotDir, finish};
use crate::{DataDir, Error, files};

/// A snapshot that is arriving. Dropped before `finish`, it leaves nothing.
pub struct Receiver {
    dir: DataDir,
    path: PathBuf,
    manifest: Manifest,
    open: Option<(usize, File, u64)>,
    next: usize,
    finished: bool,
}

impl Receiver {
    /// Prepares for the files of a manifest. `tag` tells apart what arrives at the same time.
    pub fn begin(dir: &DataDir, manifest: Manifest, tag: u64) -> Result<Self, Error> {
        let path = dir.snapshots().join(format!("{INCOMING}{tag:016x}"));
        files::remove_dir(&path)?;
        files::make_dir(&path)?;
        let dir = dir.clone();
        Ok(Self {
            dir,
            path,
            manifest,
            open: None,
            next: 0,
            finished: false,
        })
    }

    /// Takes the next chunk. Chunks come in the manifest's order, without gaps.
    pub fn chunk(&mut self, name: &str, offset: u64, data: &[u8], sum: u32) -> Result<(), Error> {
        let path = self.path.clone();
        let damaged = |reason: &str| Error::damaged(&path, format!("{name}: {reason}"));
        if crc32fast::hash(data) != sum {
            return Err(damaged("chunk's checksum differs"));
        }
        if self
            .open
            .as_ref()
            .is_none_or(|(at, ..)| self.manifest.files[*at].name != name)
        {
            self.close_file()?;
            self.skip_empty_files()?;
            let expected = self.manifest.files.get(self.next);
            if expected.is_none_or(|file| file.name != name) {
                return Err(damaged("unexpected file"));
            }
            let file = files::create(&self.path.join(name))?;
            self.open = Some((self.next, file, 0));
            self.next += 1;
        }
        let Some((at, file, written)) = &mut self.open else {
            return Err(damaged("no file"));
        };
        let size = self.manifest.files[*at].size_bytes;
        if *written != offset || offset + data.len() as u64 > size {
            return Err(damaged("chunk out of place"));
        }
        file.write_all(data).map_err(Error::io(&self.path))?;
        *written += data.len() as u64;
        Ok(())
    }

    /// Checks everything against the manifest, makes it durable and gives it its name.
    pub fn finish(mut self) -> Result<SnapshotDir, Error> {
        self.close_file()?;
        self.skip_empty_files()?;
        if self.next != self.manifest.files.len() {
            return Err(Error::damaged(&self.path, "files are missing"));
        }
        for file in &self.manifest.files {
            let path = self.path.join(&file.name);
            if files::checksum(&path)? != (file.size_bytes, file.sum) {
                return Err(Error::damaged(&path, "differs from the manifest"));
            }
        }
        let snapshot = finish(&self.dir, &self.path, self.manifest.clone())?;
        self.finished = true;
        Ok(snapshot)
    }

    fn close_file(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some((_, file, _)) => file.sync_all().map_err(Error::io(&self.path)),
            None => Ok(()),
        }
    }

    fn skip_empty_files(&mut self) -> Result<(), Error> {
        while let Some(file) = self
            .manifest
            .files
            .get(self.next)
            .filter(|f| f.size_bytes == 0)
        {
            files::create(&self.path.join(&file.name))?;
            self.next += 1;
        }
        Ok(())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.finished {
            let _ = files::remove_dir(&self.path);
        }
    }
}
