//! What is remembered over a restart: up to which change the history was told.

use azud_event::id::StreamId;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The form of the file. Another number is another form.
const VERSION: u32 = 1;

/// A place in the history of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Which database.
    pub(super) database: String,
    /// A stream that begins anew has another name.
    pub(super) generation: u64,
    /// The number of the last change that is in the log, or delivered.
    pub(super) number: u64,
}

impl Position {
    /// Gives the stream that a source makes of the history.
    pub(super) fn stream(&self, source: &str) -> StreamId {
        let Position { database, generation, .. } = self;
        let name = format!("connector_status\0{source}\0{database}\0{generation}");
        StreamId::named(name.as_bytes())
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    position: Position,
}

/// Where it is kept.
#[derive(Clone, Debug)]
pub(super) struct PositionFile {
    path: PathBuf,
}

impl PositionFile {
    /// Makes the folder for it.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(PositionFile { path: folder.join("position.json") })
    }

    /// Gives its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it; `None` when there is none. One that is damaged is put aside, so that nobody has to
    /// delete it by hand.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn load(&self) -> io::Result<Option<Position>> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice::<Stored>(&text) {
            Ok(stored) if stored.version == VERSION => Ok(Some(stored.position)),
            _ => {
                let aside = self.path.with_extension("json.damaged");
                fs::rename(&self.path, &aside)?;
                tracing::error!(aside = %aside.display(),
                    "the position in the history of statuses is damaged and was put aside; what \
                     changed before this start and was not told is not told any more");
                Ok(None)
            }
        }
    }

    /// Writes it as a whole: after a crash there is the old one or the new one.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn store(&self, position: &Position) -> io::Result<()> {
        let stored = Stored { version: VERSION, position: position.clone() };
        let text = serde_json::to_vec(&stored)?;
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
        let file = PositionFile::new(&folder.path().join("sources/health")).unwrap();
        assert_eq!(file.load().unwrap(), None);
        let position = Position { database: "d".to_owned(), generation: u64::MAX, number: 7 };
        file.store(&position).unwrap();
        assert_eq!(file.load().unwrap(), Some(position));
        for damage in ["", "{", r#"{"version":2,"database":"d","generation":1,"number":1}"#] {
            fs::write(file.path(), damage).unwrap();
            assert_eq!(file.load().unwrap(), None, "{damage}");
            let aside = file.path().with_extension("json.damaged");
            assert_eq!(fs::read_to_string(aside).unwrap(), damage);
            assert!(!file.path().exists());
        }
    }
}
