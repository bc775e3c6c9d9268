//! The file layer: what the log asks of a disk, and a folder of the file system that gives it.
//!
//! It is a trait so that tests can stand a disk there that forgets what was not synced, is full, or
//! fails, at any write.

use nix::sys::uio::pwritev;
use std::any::Any;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A folder with files and sub-folders, by name (`0000000000000000.log`, `damaged/…`).
///
/// - What was written survives a crash only after [`DiskFile::sync`]; made, renamed and removed
///   names only after [`Disk::sync_folder`]. The writer and the recovery check this by the
///   forgetful disk of the tests.
/// - Removing a file that is open elsewhere leaves it readable there, as Unix does.
/// - No room is [`ErrorKind::StorageFull`] or [`ErrorKind::QuotaExceeded`].
pub trait Disk: Send + Sync + 'static {
    /// Makes an empty file to read and write; a file of that name loses what it had.
    ///
    /// # Errors
    /// Those of the operating system, as for all that follow.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it does not.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file within its folder, over one that has the new name already.
    ///
    /// # Errors
    /// Those of the operating system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; that there is none is no error.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Lists the files of a folder (`""` is the log's own), with their lengths in bytes, in no
    /// order. A folder that does not exist is empty.
    ///
    /// # Errors
    /// Those of the operating system.
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;

    /// Makes a folder, and those above it.
    ///
    /// # Errors
    /// Those of the operating system.
    fn make_folder(&self, folder: &str) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Keeps other processes out until what it gives is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when another has the lock.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only to read.
    Read,
    /// To read and to change.
    Write,
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all of `parts`, one after the other, at `offset`. On an error any part of them may
    /// have been written.
    ///
    /// # Errors
    /// Those of the operating system, as for all that follow.
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()>;

    /// Reads at `offset` until `buffer` is full or the file ends; gives how much was read.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes what was written durable, with the length (`fdatasync`).
    ///
    /// # Errors
    /// Those of the operating system. What was written before is then in doubt for good.
    fn sync(&self) -> io::Result<()>;

    /// Cuts or extends the file to `length` bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// A [`Disk`] that is a folder of the file system.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Names the folder; it is made when the log is opened.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Folder { root: root.into() }
    }
}

impl Disk for Folder {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Box::new(options.open(self.root.join(name))?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::Write);
        Ok(Box::new(options.open(self.root.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.root.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A file may go between the listing and the look; a name that is no text is not ours.
            let Ok(metadata) = entry.metadata() else { continue };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(folder))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.root.join(folder))?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(self.root.join(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// How many parts one system call takes: the least `IOV_MAX` of the systems that we know.
const PARTS_MAX: usize = 1024;

impl DiskFile for File {
    fn write_at(&self, mut offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        for parts in parts.chunks(PARTS_MAX) {
            let mut slices: Vec<IoSlice<'_>> =
                parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut left = slices.as_mut_slice();
            IoSlice::advance_slices(&mut left, 0);
            while !left.is_empty() {
                let at = i64::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
                let written = match pwritev(self, left, at) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(written) => written,
                    Err(nix::Error::EINTR) => continue,
                    Err(error) => return Err(error.into()),
                };
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match FileExt::read_at(self, &mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
