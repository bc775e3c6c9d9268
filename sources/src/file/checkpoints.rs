//! What is remembered of files over a restart: up to where each was delivered.

use super::fingerprint::Fingerprint;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The form of the file. Another number is another form.
const VERSION: u32 = 1;

/// What is remembered of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Which file.
    pub(super) fingerprint: Fingerprint,
    /// How often it was emptied and written anew.
    pub(super) generation: u32,
    /// Everything before this byte is delivered.
    pub(super) position: u64,
    /// When the file was last there, in seconds since the Unix epoch.
    pub(super) seen: i64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    files: Vec<Checkpoint>,
}

/// Where checkpoints are kept.
#[derive(Clone, Debug)]
pub(super) struct CheckpointFile {
    path: PathBuf,
}

/// What was found at start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    /// These.
    Checkpoints(Vec<Checkpoint>),
    /// A file that cannot be understood; it was put aside under this name.
    Damaged(PathBuf),
}

impl CheckpointFile {
    /// Makes the folder for it.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(CheckpointFile { path: folder.join("checkpoints.json") })
    }

    /// Gives its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it. A damaged file is put aside, so that nobody has to delete it by hand, and the
    /// files that it was about are read again: twice is better than never.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn load(&self) -> io::Result<Loaded> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Loaded::Checkpoints(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        match serde_json::from_slice::<Stored>(&text) {
            Ok(stored) if stored.version == VERSION => Ok(Loaded::Checkpoints(stored.files)),
            _ => {
                let aside = self.path.with_extension("json.damaged");
                fs::rename(&self.path, &aside)?;
                Ok(Loaded::Damaged(aside))
            }
        }
    }

    /// Writes it as a whole: after a crash there is the old one or the new one.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn store(&self, mut files: Vec<Checkpoint>) -> io::Result<()> {
        files.sort_by(|one, other| one.fingerprint.cmp(&other.fingerprint));
        let text = serde_json::to_vec_pretty(&Stored { version: VERSION, files })?;
        let fresh = self.path.with_extension("json.new");
        let mut file = File::create(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        // The rename itself is on disk only when the folder is.
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded_and_damage_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = CheckpointFile::new(&folder.path().join("sources/in")).unwrap();
        assert_eq!(file.load().unwrap(), Loaded::Checkpoints(Vec::new()));
        let checkpoint = Checkpoint {
            fingerprint: Fingerprint("abc".to_owned()),
            generation: 1,
            position: 77,
            seen: 1_772_359_200,
        };
        file.store(vec![checkpoint.clone()]).unwrap();
        assert_eq!(file.load().unwrap(), Loaded::Checkpoints(vec![checkpoint]));

        for damage in ["", "{", r#"{"version":2,"files":[]}"#] {
            fs::write(file.path(), damage).unwrap();
            let Loaded::Damaged(aside) = file.load().unwrap() else { panic!("{damage} was taken") };
            assert_eq!(fs::read_to_string(aside).unwrap(), damage);
            assert_eq!(file.load().unwrap(), Loaded::Checkpoints(Vec::new()));
        }
    }
}
