//! Which records were taken already, by the ids that the other side gives them: for polls that ask
//! for some time again, because records come late there.
//!
//! An id leaves when a walk that began `window` after it was last given has come to its end without
//! it. So time counts only while there are answers: after a weekend without power, or without the
//! other side, what an overlap brings again is still known. A walk that another process began does
//! not count either: what it was given there is not known here.

use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;
use vrl::path::OwnedValuePath;

/// The checked table `dedupe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dedupe {
    pub(super) id: OwnedValuePath,
    pub(super) window: Duration,
    pub(super) keys_max: usize,
}

/// How long an entry of the file is, in bytes: a hash and when it was seen.
const ENTRY_BYTES: usize = 16;

/// The ids of the last while.
pub(super) struct Seen {
    window: i64,
    keys_max: usize,
    known: HashMap<u64, i64>,
    order: VecDeque<(i64, u64)>,
    path: PathBuf,
    /// How many entries the file has.
    written: usize,
}

impl Seen {
    /// Reads the file, as far as it is whole.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn open(options: &Dedupe, path: PathBuf) -> io::Result<Self> {
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let window = i64::try_from(options.window.as_nanos()).unwrap_or(i64::MAX);
        let mut seen = Seen {
            window,
            keys_max: options.keys_max,
            known: HashMap::new(),
            order: VecDeque::new(),
            path,
            written: 0,
        };
        for entry in file.chunks_exact(ENTRY_BYTES) {
            let (hash, at) = entry.split_at(8);
            let hash = u64::from_le_bytes(hash.try_into().unwrap_or_default());
            seen.put(hash, i64::from_le_bytes(at.try_into().unwrap_or_default()));
        }
        seen.bound();
        // A torn end would shift what is written behind it.
        seen.rewrite()?;
        Ok(seen)
    }

    /// Gives what stands for an id.
    pub(super) fn hash(id: &Value) -> u64 {
        azud_event::id::StreamId::named(id.to_string().as_bytes()).0
    }

    /// Whether a record was taken.
    pub(super) fn has(&self, hash: u64) -> bool {
        self.known.contains_key(&hash)
    }

    /// Notes what was taken, in memory.
    pub(super) fn note(&mut self, hashes: &[u64], now: i64) {
        hashes.iter().for_each(|hash| self.put(*hash, now));
        self.bound();
    }

    /// Notes ids that came again, so that they are known for as long as the other side gives them.
    /// That is written when a part of their window has passed, and not at each poll.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn renew(&mut self, hashes: &[u64], now: i64) -> io::Result<()> {
        let old = now.saturating_sub(self.window / 4);
        let is_old = |hash: &u64| self.known.get(hash).is_some_and(|at| *at < old);
        let stale: Vec<u64> = hashes.iter().copied().filter(is_old).collect();
        if !stale.is_empty() {
            self.note(&stale, now);
        }
        self.write(&stale, now)
    }

    /// Writes what was taken: when this returns it is on disk.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn write(&mut self, hashes: &[u64], now: i64) -> io::Result<()> {
        if hashes.is_empty() {
            return Ok(());
        }
        if self.written > 2 * self.known.len() + 1024 {
            return self.rewrite();
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let entries = hashes.iter().flat_map(|hash| entry(*hash, now)).collect::<Vec<u8>>();
        file.write_all(&entries)?;
        self.written += hashes.len();
        file.sync_data()
    }

    fn put(&mut self, hash: u64, at: i64) {
        if self.known.insert(hash, at).is_none_or(|known| known != at) {
            self.order.push_back((at, hash));
        }
    }

    /// Lets go of what a walk would have given that began then, and has come to its end.
    pub(super) fn forget(&mut self, began: i64) {
        let oldest = began.saturating_sub(self.window);
        while self.order.front().is_some_and(|(at, _)| *at < oldest) {
            self.drop_oldest();
        }
    }

    fn bound(&mut self) {
        while self.known.len() > self.keys_max {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((at, hash)) = self.order.pop_front() else { return };
        // One that was seen again since stands further behind.
        if self.known.get(&hash) == Some(&at) {
            self.known.remove(&hash);
        }
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let entries: Vec<u8> = self.order.iter().flat_map(|(at, hash)| entry(*hash, *at)).collect();
        let mut file = File::create(&fresh)?;
        file.write_all(&entries)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        self.written = self.order.len();
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

fn entry(hash: u64, at: i64) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..8].copy_from_slice(&hash.to_le_bytes());
    entry[8..].copy_from_slice(&at.to_le_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_plan::component::parse_field;

    const SECOND: i64 = 1_000_000_000;

    fn dedupe(window: u64, keys_max: usize) -> Dedupe {
        let id = parse_field(".id").unwrap();
        Dedupe { id, window: Duration::from_secs(window), keys_max }
    }

    #[test]
    fn ids_are_known_until_a_walk_comes_without_them_and_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        let options = dedupe(10, 100);
        let mut seen = Seen::open(&options, path.clone()).unwrap();
        seen.note(&[1, 2], 0);
        seen.write(&[1, 2], 0).unwrap();
        seen.note(&[2, 3], 6 * SECOND);
        seen.write(&[2, 3], 6 * SECOND).unwrap();
        seen.forget(10 * SECOND);
        assert!(seen.has(1) && seen.has(2) && seen.has(3) && !seen.has(4));
        // A crash while it was written.
        let mut torn = fs::read(&path).unwrap();
        torn.extend([7; 5]);
        fs::write(&path, torn).unwrap();
        // However long it takes until somebody answers again.
        let mut seen = Seen::open(&options, path.clone()).unwrap();
        assert!(seen.has(1) && seen.has(2) && seen.has(3));
        seen.renew(&[3], 1_000 * SECOND).unwrap();
        seen.note(&[5], 1_000 * SECOND);
        seen.write(&[5], 1_000 * SECOND).unwrap();
        assert!(seen.has(1), "more pages may follow");
        seen.forget(1_000 * SECOND);
        assert!(!seen.has(1) && !seen.has(2) && seen.has(3));
        assert!(Seen::open(&options, path).unwrap().has(5));
    }

    #[test]
    fn what_comes_again_stays_known_and_is_seldom_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        let options = dedupe(10, 100);
        let mut seen = Seen::open(&options, path.clone()).unwrap();
        seen.note(&[1, 2], 0);
        seen.write(&[1, 2], 0).unwrap();
        for second in 1..=40 {
            seen.renew(&[1, 7], second * SECOND).unwrap();
            seen.note(&[100 + second as u64], second * SECOND);
            seen.forget(second * SECOND);
        }
        assert!(seen.has(1) && !seen.has(2) && !seen.has(7));
        assert!(seen.written <= 20, "{}", seen.written);
        assert!(Seen::open(&options, path).unwrap().has(1));
    }

    #[test]
    fn they_are_bounded_the_oldest_leave() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Seen::open(&dedupe(1_000, 3), folder.path().join("seen")).unwrap();
        for id in 0..10 {
            seen.note(&[id], id as i64);
            seen.write(&[id], id as i64).unwrap();
        }
        assert!(!seen.has(6) && seen.has(7) && seen.has(9));
        assert_eq!(seen.known.len(), 3);
    }
}
