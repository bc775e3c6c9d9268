//! The lock that keeps two processes from writing one database.
//!
//! SQLite would let both write, in turns. But each would believe that the state of its rules is the
//! only one, and migrations of SQLite take no lock of their own.

use crate::{Location, StoreError};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Holds the lock until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock beside the database at `path`; the file stays when the lock goes, because to
    /// remove it would be a race with the next who takes it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process holds it, [`StoreError::File`] when the file
    /// cannot be opened.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let beside = lock_path(path);
        let failed = |source| StoreError::File { path: beside.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&beside);
        let mut file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = read_process(&mut file);
                return Err(StoreError::Locked { location: Location::file(path), process });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Only for the message above; a full disk must not keep the store from opening.
        let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::debug!(%error, "the lock does not name its process");
        }
        Ok(WriterLock { _file: file })
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn read_process(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azud.db");
        let first = WriterLock::take(&path).unwrap();
        let refused = WriterLock::take(&path).unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, StoreError::Locked { .. }), "{refused:?}");
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        drop(first);
        WriterLock::take(&path).unwrap();
    }
}
