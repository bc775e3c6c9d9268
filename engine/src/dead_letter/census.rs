//! What dead letters there are, by group, over all pipelines.

use super::folder::{Folder, Segment};
use super::index::{Group, Index, each_line};
use super::line::{Line, lines};
use crate::inspect::{InspectError, pipelines_below};
use azud_event::id::Id;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of dead letters within the data folder; below it each pipeline has one of its name.
pub const FOLDER: &str = "dead_letters";

/// How often files may go under our eyes before we give up.
const TRIES: usize = 3;

/// How many bytes of a letter are read at the most: its record is cut long before.
const LETTER_BYTES_MAX: usize = 1024 * 1024;

/// All dead letters of an instance at one moment.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The groups, those of the latest minute first.
    pub groups: Vec<Letters>,
    /// How many bytes all files have.
    pub bytes: u64,
    /// How many lines of segments cannot be read.
    pub unreadable: u64,
}

/// Letters of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letters {
    /// The group's identity, in this incarnation of the data folder.
    pub id: Id,
    /// The pipeline.
    pub pipeline: String,
    /// What they have in common, and how many there are.
    pub group: Group,
    /// The first segment that has some.
    pub from: PathBuf,
    /// The last.
    pub to: PathBuf,
}

impl Letters {
    /// Gives the first letter, as it was written, without the end of its line; `None` when it is
    /// gone.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sample(&self) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = super::folder::found(File::open(&self.from))? else { return Ok(None) };
        let mut bytes = vec![0; LETTER_BYTES_MAX];
        let read = file.read_at(&mut bytes, self.group.at)?;
        let line = lines(&bytes[..read]).next().map(|(_, line)| line.trim_ascii_end());
        let is_of_us = |line: &&[u8]| matches!(Line::read(line), Some(Line::Letter(_)));
        Ok(line.filter(is_of_us).map(<[u8]>::to_vec))
    }
}

/// Gives the raw bytes of the record in a letter, as many as are kept; `None` when it is no letter.
pub fn record_of(letter: &[u8]) -> Option<Vec<u8>> {
    let letter: serde_json::Value = serde_json::from_slice(letter).ok()?;
    match letter["raw"].as_str() {
        Some(raw) => Some(raw.as_bytes().to_vec()),
        None => BASE64_STANDARD.decode(letter["raw_base64"].as_str()?).ok(),
    }
}

/// Looks again and again at the dead letters of an instance, and reads only what is new.
#[derive(Debug)]
pub struct Census {
    root: PathBuf,
    incarnation: [u8; 16],
    known: BTreeMap<PathBuf, (u64, Arc<Index>)>,
}

impl Census {
    /// Makes one of a data folder; `incarnation` is that folder's.
    pub fn of(data_dir: &Path, incarnation: [u8; 16]) -> Self {
        Census { root: data_dir.join(FOLDER), incarnation, known: BTreeMap::new() }
    }

    /// Lists what there is.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn take(&mut self) -> Result<Listing, InspectError> {
        self.take_before(&BTreeMap::new())
    }

    /// Lists what there is, of the folders in `begun` only what is in segments before that number.
    pub(super) fn take_before(
        &mut self,
        begun: &BTreeMap<PathBuf, u64>,
    ) -> Result<Listing, InspectError> {
        let mut tries = 1;
        loop {
            match self.take_once(begun) {
                Err(InspectError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && tries < TRIES =>
                {
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    fn take_once(&mut self, begun: &BTreeMap<PathBuf, u64>) -> Result<Listing, InspectError> {
        let mut listing = Listing::default();
        let mut known = BTreeMap::new();
        for (pipeline, path) in pipelines_below(&self.root)? {
            let folder = Folder::new(path.clone());
            let before = begun.get(&path).copied();
            let files = folder.files().map_err(|source| InspectError::Io { path, source })?;
            listing.bytes += files.bytes;
            let mut groups = BTreeMap::new();
            let wanted = |it: &Segment| before.is_none_or(|before| it.number < before);
            for segment in files.segments.into_iter().filter(wanted) {
                let (path, index) = self.index(&folder, segment)?;
                listing.unreadable += index.unreadable;
                self.add(&mut groups, &pipeline, &path, &index);
                known.insert(path, (segment.bytes, index));
            }
            listing.groups.extend(groups.into_values());
        }
        self.known = known;
        let latest = |letters: &Letters| {
            let key = &letters.group.key;
            (std::cmp::Reverse(key.minute.clone()), letters.pipeline.clone(), key.clone())
        };
        listing.groups.sort_by_cached_key(latest);
        Ok(listing)
    }

    fn index(
        &self,
        folder: &Folder,
        segment: Segment,
    ) -> Result<(PathBuf, Arc<Index>), InspectError> {
        let path = folder.segment(segment.number);
        if let Some((bytes, index)) = self.known.get(&path)
            && *bytes == segment.bytes
        {
            return Ok((path, Arc::clone(index)));
        }
        match Index::of(folder, segment) {
            Ok(index) => Ok((path, Arc::new(index))),
            Err(source) => Err(InspectError::Io { path, source }),
        }
    }

    /// Adds what a segment has to the groups of its pipeline.
    fn add(&self, groups: &mut BTreeMap<Id, Letters>, pipeline: &str, path: &Path, index: &Index) {
        for group in index.groups.values() {
            let id = self.id(pipeline, group);
            match groups.get_mut(&id) {
                Some(known) => {
                    known.group.merge(group);
                    known.to = path.to_owned();
                }
                None => {
                    let (pipeline, group) = (pipeline.to_owned(), group.clone());
                    let (from, to) = (path.to_owned(), path.to_owned());
                    groups.insert(id, Letters { id, pipeline, group, from, to });
                }
            }
        }
    }

    fn id(&self, pipeline: &str, group: &Group) -> Id {
        let key = &group.key;
        let texts = [pipeline, &key.component, &key.source, &key.reason, &key.minute];
        let [pipeline, component, source, reason, minute] = texts.map(str::as_bytes);
        Id::of(&[&self.incarnation, pipeline, component, source, reason, minute])
    }

    /// Gives letters of a group as they were written, the first ones first, at most `count`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn letters(&self, of: &Letters, count: usize) -> Result<Vec<Vec<u8>>, InspectError> {
        let mut found = Vec::new();
        let segments = self.known.keys().filter(|path| path.parent() == of.from.parent());
        for path in segments.filter(|path| **path >= of.from && **path <= of.to) {
            let failed = |source| InspectError::Io { path: path.clone(), source };
            let Some(file) = super::folder::found(File::open(path)).map_err(failed)? else {
                continue;
            };
            each_line(&file, 0, |_, line| {
                let Some(Line::Letter(head)) = Line::read(line) else { return };
                if found.len() < count && super::index::GroupKey::of(&head) == of.group.key {
                    found.push(line.trim_ascii_end().to_vec());
                }
            })
            .map_err(failed)?;
            if found.len() >= count {
                break;
            }
        }
        Ok(found)
    }
}
