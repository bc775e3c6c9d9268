//! Discarding dead letters: a person says that they are not needed, and why.
//!
//! It may be done while an instance runs. The writer is kept out only for as long as it takes to
//! begin a new segment; the segments before are written anew without the letters, one by one, each
//! under another name first. What is discarded while its epoch may still be repeated leaves a
//! trace, so that it does not come again. Before anything goes, the audit has it.

use super::census::{Census, Letters};
use super::folder::{Folder, State, found, give_to_owner_of};
use super::index::{GroupKey, Index, each_line};
use super::line::{Line, Trace, identity};
use crate::inspect::InspectError;
use azud_event::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file of the audit below the folder of dead letters: a JSON object a line, see
/// [`Discarded`].
pub const AUDIT: &str = "discarded.jsonl";

/// The file that keeps two discarders apart.
const LOCK: &str = "discard.lock";

/// What was discarded of a group: a line of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// When, in RFC 3339.
    pub at: String,
    /// Who: the user of the system.
    pub by: String,
    /// Why.
    pub because: String,
    /// The group, as 32 hexadecimal digits.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// What the letters have in common.
    #[serde(flatten)]
    pub group: GroupKey,
    /// How many there were.
    pub letters: u64,
    /// How many bytes their records had.
    pub bytes: u64,
}

/// Who discards, and why.
#[derive(Clone, Debug)]
pub struct Word {
    /// When.
    pub at: EventTime,
    /// Who.
    pub by: String,
    /// Why.
    pub because: String,
}

/// Why letters cannot be discarded.
#[derive(Debug, thiserror::Error)]
pub enum DiscardError {
    /// Somebody else is at it.
    #[error("dead letters of this instance are being discarded by another process")]
    Busy,
    /// A file or folder cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What there is cannot be read.
    #[error(transparent)]
    Unreadable(#[from] InspectError),
}

/// Discards the letters of the groups that `chosen` holds for, and gives what went, by group.
///
/// Letters that come while it is done stay, even if they are of such a group.
///
/// # Errors
/// When another process discards, or a file cannot be read or written. What is left then can be
/// discarded again.
pub fn discard(
    data_dir: &Path,
    incarnation: [u8; 16],
    chosen: &dyn Fn(&Letters) -> bool,
    word: &Word,
) -> Result<Vec<Discarded>, DiscardError> {
    let root = data_dir.join(super::FOLDER);
    let _lock = lock(&root)?;
    let mut census = Census::of(data_dir, incarnation);
    let listed = census.take()?.groups;
    let pipelines: BTreeSet<&Path> =
        listed.iter().filter(|it| chosen(it)).filter_map(|it| it.from.parent()).collect();
    let mut begun = BTreeMap::new();
    for path in pipelines {
        let number = begin_segment(&Folder::new(path.to_owned())).map_err(failed(path))?;
        begun.insert(path.to_owned(), number);
    }
    // Once more, now that what was the open segment does not grow any more, and without what comes
    // meanwhile.
    let wanted = census.take_before(&begun)?.groups.into_iter();
    let has_begun = |it: &Letters| it.from.parent().is_some_and(|at| begun.contains_key(at));
    let wanted: Vec<Letters> = wanted.filter(|it| has_begun(it) && chosen(it)).collect();
    let gone: Vec<Discarded> = wanted.iter().map(|letters| Discarded::of(letters, word)).collect();
    write_audit(&root, &gone).map_err(failed(&root.join(AUDIT)))?;
    let mut by_folder: BTreeMap<&Path, BTreeSet<&GroupKey>> = BTreeMap::new();
    for letters in &wanted {
        if let Some(folder) = letters.from.parent() {
            by_folder.entry(folder).or_default().insert(&letters.group.key);
        }
    }
    for (path, groups) in by_folder {
        let Some(begun) = begun.get(path) else { continue };
        remove(&Folder::new(path.to_owned()), &groups, *begun).map_err(failed(path))?;
    }
    Ok(gone)
}

/// Reads the audit of a data folder, the first entry first. Lines that cannot be read are left out.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn audit(data_dir: &Path) -> Result<Vec<Discarded>, InspectError> {
    let path = data_dir.join(super::FOLDER).join(AUDIT);
    let bytes = found(fs::read(&path)).map_err(|source| InspectError::Io { path, source })?;
    let bytes = bytes.unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

impl Discarded {
    fn of(letters: &Letters, word: &Word) -> Self {
        Discarded {
            at: word.at.to_rfc3339(),
            by: word.by.clone(),
            because: word.because.clone(),
            id: letters.id.to_string(),
            pipeline: letters.pipeline.clone(),
            group: letters.group.key.clone(),
            letters: letters.group.letters,
            bytes: letters.group.bytes,
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DiscardError {
    let path = path.to_owned();
    move |source| DiscardError::Io { path, source }
}

/// Keeps other discarders out.
fn lock(root: &Path) -> Result<File, DiscardError> {
    let path = root.join(LOCK);
    let folder = root.to_owned();
    if !root.is_dir() {
        return Err(InspectError::Nothing { folder, what: "dead letters" }.into());
    }
    let open = || -> io::Result<File> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        give_to_owner_of(root, &path)?;
        Ok(lock)
    };
    let lock = open().map_err(failed(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(DiscardError::Busy),
        Err(TryLockError::Error(error)) => Err(failed(&path)(error)),
    }
}

fn write_audit(root: &Path, gone: &[Discarded]) -> io::Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    let path = root.join(AUDIT);
    let mut text = Vec::new();
    for one in gone {
        serde_json::to_writer(&mut text, one)?;
        text.push(b'\n');
    }
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    give_to_owner_of(root, &path)?;
    file.write_all(&text)?;
    file.sync_all()
}

/// Has the writer go on in a new segment, and gives its number.
fn begin_segment(folder: &Folder) -> io::Result<u64> {
    let _lock = folder.lock()?;
    let number = folder.files()?.greatest + 1;
    let path = folder.segment(number);
    File::create_new(&path)?;
    give_to_owner_of(folder.path(), &path)?;
    folder.sync()?;
    Ok(number)
}

/// Removes the letters of some groups from the segments before `begun`.
fn remove(folder: &Folder, groups: &BTreeSet<&GroupKey>, begun: u64) -> io::Result<()> {
    let mut indices = Vec::new();
    for segment in folder.files()?.segments.into_iter().filter(|it| it.number < begun) {
        indices.push((segment, Index::of(folder, segment)?));
    }
    let state = folder.state()?;
    let live = indices.iter().filter(|(segment, _)| segment.number >= state.from);
    let complete_before = live.map(|(_, index)| index.complete_before).max().unwrap_or_default();
    let complete_before = complete_before.max(state.complete_before);
    // It is true whether or not the rest succeeds, and may be known only from letters that go.
    folder.set_state(State { complete_before, ..state })?;
    for (segment, index) in indices {
        if index.groups.keys().any(|key| groups.contains(key)) {
            let traces = segment.number >= state.from;
            rewrite(folder, segment.number, groups, traces.then_some(complete_before))?;
        }
    }
    Ok(())
}

/// Writes a segment anew without the letters of some groups. Those of an epoch that may still be
/// repeated, which is not before `traced_from`, leave a trace.
fn rewrite(
    folder: &Folder,
    number: u64,
    groups: &BTreeSet<&GroupKey>,
    traced_from: Option<u64>,
) -> io::Result<()> {
    let (mut kept, mut index) = (Vec::new(), Index::default());
    let file = File::open(folder.segment(number))?;
    each_line(&file, 0, |_, line| {
        let before = kept.len();
        match Line::read(line) {
            Some(Line::Letter(head)) if groups.contains(&GroupKey::of(&head)) => {
                let stamp = head.epoch.zip(head.since).zip(identity(line));
                if let Some(((epoch, since), identity)) = stamp
                    && traced_from.is_some_and(|from| epoch >= from)
                {
                    Trace { epoch, since, identity }.write(&mut kept);
                }
            }
            Some(Line::Trace(trace)) if traced_from.is_none_or(|from| trace.epoch < from) => {}
            _ => kept.extend_from_slice(line),
        }
        index.add(&kept[before..]);
    })?;
    if kept.is_empty() {
        fs::remove_file(folder.segment(number))?;
        found(fs::remove_file(folder.index(number)))?;
        return folder.sync();
    }
    folder.replace(&folder.segment(number), &kept)?;
    index.write(folder, number)
}
