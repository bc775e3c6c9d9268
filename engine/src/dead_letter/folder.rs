//! The files of one pipeline's dead letters.
//!
//! ```text
//! dead_letters/<pipeline>/00000007.jsonl     a segment: letters, a line each; the greatest is open
//!                         00000007.index     what the segment holds by group, a cache
//!                         state.json         what the segments cannot say any more
//!                         lock               held for each write, and while one is discarded
//! ```

use crate::feed::Epoch;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// The extension of segments.
const SEGMENT: &str = "jsonl";
/// The extension of what is kept of a segment by group.
const INDEX: &str = "index";
/// The extension of a file that is being written.
const UNFINISHED: &str = "new";
const STATE: &str = "state.json";
const LOCK: &str = "lock";

/// The version of the form of [`State`] that this program writes, and the greatest that it reads.
const VERSION: u32 = 1;

/// The folder of one pipeline's letters. It need not exist.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// A segment on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// What is on disk.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The segments, by number.
    pub segments: Vec<Segment>,
    /// How many bytes all files have.
    pub bytes: u64,
    /// The greatest number that any file has.
    pub greatest: u64,
}

/// What the segments cannot say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The version of this form; [`Folder::set_state`] sets it.
    pub version: u32,
    /// Segments before this number are of an earlier life of the pipeline, whose epochs mean
    /// nothing any more.
    pub from: u64,
    /// Every epoch before this is complete: so much is known though the letters that said it are
    /// gone.
    pub complete_before: Epoch,
}

impl Folder {
    /// Names a folder.
    pub fn new(path: PathBuf) -> Self {
        Folder { path }
    }

    /// Gives its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the path of a segment.
    pub fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:08}.{SEGMENT}"))
    }

    /// Gives the path of a segment's index.
    pub fn index(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:08}.{INDEX}"))
    }

    /// Looks at what is there.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn files(&self) -> io::Result<Files> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Files::default()),
            other => other?,
        };
        let mut files = Files::default();
        for entry in entries {
            let entry = entry?;
            // Removed between the two looks: that is how room is made.
            let Some(metadata) = found(entry.metadata())? else { continue };
            if !metadata.is_file() {
                continue;
            }
            files.bytes += metadata.len();
            let path = entry.path();
            let Some(number) = number_of(&path) else { continue };
            files.greatest = files.greatest.max(number);
            if path.extension().is_some_and(|it| it == SEGMENT) {
                files.segments.push(Segment { number, bytes: metadata.len() });
            }
        }
        files.segments.sort_unstable_by_key(|segment| segment.number);
        Ok(files)
    }

    /// Makes the folder, and keeps others from writing or discarding there until what it gives is
    /// dropped. Waits for them.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.path)?;
        let path = self.path.join(LOCK);
        let lock = match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let lock =
                    OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
                give_to_owner_of(&self.path, &path)?;
                lock
            }
            other => other?,
        };
        lock.lock()?;
        Ok(lock)
    }

    /// Reads what the segments cannot say.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or is of a newer form.
    pub fn state(&self) -> io::Result<State> {
        let path = self.path.join(STATE);
        let Some(bytes) = found(fs::read(&path))? else { return Ok(State::default()) };
        let wrong = |why: String| {
            io::Error::new(ErrorKind::InvalidData, format!("{}: {why}", path.display()))
        };
        let state: State =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        match state.version {
            version if version > VERSION => {
                Err(wrong(format!("a newer version ({version}) wrote it")))
            }
            _ => Ok(state),
        }
    }

    /// Writes what the segments cannot say.
    ///
    /// # Errors
    /// When it cannot be written; then it is as it was.
    pub fn set_state(&self, state: State) -> io::Result<()> {
        let state = State { version: VERSION, ..state };
        let bytes = serde_json::to_vec(&state).map_err(io::Error::other)?;
        self.replace(&self.path.join(STATE), &bytes)
    }

    /// Writes a file of the folder, whole or not at all, for good when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then it is as it was.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        give_to_owner_of(&self.path, &unfinished)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        self.sync()
    }

    /// Makes the names in the folder durable.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Gives a file to whoever owns the folder: a command that root runs must leave nothing that the
/// instance cannot write.
///
/// # Errors
/// Those of the operating system.
pub fn give_to_owner_of(folder: &Path, file: &Path) -> io::Result<()> {
    let (folder, of_file): (Metadata, Metadata) = (fs::metadata(folder)?, fs::metadata(file)?);
    if (folder.uid(), folder.gid()) == (of_file.uid(), of_file.gid()) {
        return Ok(());
    }
    match chown(file, Some(folder.uid()), Some(folder.gid())) {
        // Whoever may not give it away is not root, and the folder lets them in by its group.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Takes a file that is not there for none.
///
/// # Errors
/// All others.
pub fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}
