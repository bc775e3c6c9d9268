//! The file system as the `file` sink needs it, behind a trait: what a full or failing disk does to
//! a write is then tested without one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Which file it is, whatever its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub device: u64,
    pub inode: u64,
}

/// Where files are.
pub(crate) trait Disk: Send {
    /// Opens a file for appending; makes it, and the folders above it, when they are not there.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Appending>>;

    /// Tells which file has this name now; `None` when there is none.
    fn identity(&self, path: &Path) -> io::Result<Option<Identity>>;
}

/// An open file that is appended to.
pub(crate) trait Appending: Send {
    /// Tells which file it is.
    fn identity(&self) -> io::Result<Identity>;

    /// Tells how long it is, in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Reads the last byte; `None` of an empty file.
    fn last_byte(&self) -> io::Result<Option<u8>>;

    /// Appends some of the bytes at the end of the file, wherever that is by now, and tells how
    /// many.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file to this length.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Returns once what was appended is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Debug)]
pub(crate) struct LocalDisk;

impl Disk for LocalDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Appending>> {
        let open = || OpenOptions::new().append(true).read(true).create(true).open(path);
        let file = match open() {
            // Only when it is needed: to make folders that are there costs a system call for each
            // of them.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                open()?
            }
            opened => opened?,
        };
        Ok(Box::new(file))
    }

    fn identity(&self, path: &Path) -> io::Result<Option<Identity>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(identity_of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Appending for File {
    fn identity(&self) -> io::Result<Identity> {
        Ok(identity_of(&self.metadata()?))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn last_byte(&self) -> io::Result<Option<u8>> {
        let Some(last) = self.length()?.checked_sub(1) else { return Ok(None) };
        let mut byte = [0];
        self.read_exact_at(&mut byte, last)?;
        Ok(Some(byte[0]))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

fn identity_of(metadata: &fs::Metadata) -> Identity {
    Identity { device: metadata.dev(), inode: metadata.ino() }
}
