//! Pages on disk, from when they are there until they are in the log.

use azud_event::block::{Block, Layout};
use azud_event::dead_letter::Reason;
use azud_event::id::{Id, SourceIndex, StreamId};
use azud_event::limits::{BLOCK_BYTES, BLOCK_RECORDS_MAX, DEAD_LETTER_RAW_BYTES, RECORD_BYTES_MAX};
use azud_event::time::EventTime;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The form of a file. Another number is another form.
const VERSION: u32 = 1;

/// How long the sum at a file's end is, in bytes.
const SUM_BYTES: usize = 32;

/// The records of a page, as they stand in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    stream: StreamId,
    received_at: EventTime,
    parts: Vec<Part>,
    bytes: Bytes,
    /// What they are known by, to be remembered with them.
    pub(super) seen: Vec<u64>,
}

/// One block of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    position: u64,
    length: usize,
    /// Of a record that is too long: how long it is.
    refused: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    stream: u64,
    received_at: i64,
    parts: Vec<Part>,
    seen: Vec<u64>,
}

impl Page {
    /// Puts records into blocks, from a position of their stream on. A record is a line: it has no
    /// line feed, and is not empty.
    pub(super) fn new(
        (stream, mut position): (StreamId, u64),
        received_at: EventTime,
        records: &[Vec<u8>],
        seen: Vec<u64>,
    ) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        let mut bytes = Vec::new();
        let mut records_in = 0;
        let mut open = false;
        for record in records {
            if record.len() > RECORD_BYTES_MAX {
                let kept = &record[..DEAD_LETTER_RAW_BYTES];
                bytes.extend_from_slice(kept);
                let refused = Some(record.len() as u64);
                parts.push(Part { position, length: kept.len(), refused });
                position += kept.len() as u64;
                open = false;
                continue;
            }
            let fits = |part: &&mut Part| {
                open && part.length + record.len() < BLOCK_BYTES && records_in < BLOCK_RECORDS_MAX
            };
            let length = record.len() + 1;
            match parts.last_mut().filter(fits) {
                Some(part) => {
                    part.length += length;
                    records_in += 1;
                }
                None => {
                    parts.push(Part { position, length, refused: None });
                    (open, records_in) = (true, 1);
                }
            }
            bytes.extend_from_slice(record);
            bytes.push(b'\n');
            position += length as u64;
        }
        Page { stream, received_at, parts, bytes: bytes.into(), seen }
    }

    /// Gives the stream, and where it goes on behind the page.
    pub(super) fn end(&self) -> (StreamId, u64) {
        let end = self.parts.last().map_or(0, |part| part.position + part.length as u64);
        (self.stream, end)
    }

    /// Gives the blocks.
    pub(super) fn blocks(&self, source: SourceIndex) -> Vec<Block> {
        let mut from = 0;
        let block = |part: &Part| {
            let bytes = self.bytes.slice(from..from + part.length);
            from += part.length;
            let layout = match part.refused {
                Some(length) => Layout::Refused { reason: Reason::TooLong, length },
                None => Layout::Lines,
            };
            Block {
                source,
                stream: self.stream,
                position: part.position,
                end: part.position + part.length as u64,
                received_at: self.received_at,
                bytes,
                layout,
                peers: [].into(),
            }
        };
        self.parts.iter().map(block).collect()
    }

    fn write(&self) -> Vec<u8> {
        let head = Head {
            version: VERSION,
            stream: self.stream.0,
            received_at: self.received_at.nanoseconds(),
            parts: self.parts.clone(),
            seen: self.seen.clone(),
        };
        let mut file = serde_json::to_vec(&head).unwrap_or_default();
        file.push(b'\n');
        file.extend_from_slice(&self.bytes);
        let sum = sum(&file);
        file.extend_from_slice(sum.as_bytes());
        file
    }

    fn read(file: &[u8]) -> Option<Page> {
        let (body, found) = file.split_at_checked(file.len().checked_sub(SUM_BYTES)?)?;
        if sum(body).as_bytes() != found {
            return None;
        }
        let line = body.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&body[..line]).ok()?;
        let bytes = Bytes::copy_from_slice(&body[line + 1..]);
        let length: usize = head.parts.iter().map(|part| part.length).sum();
        (head.version == VERSION && length == bytes.len()).then(|| Page {
            stream: StreamId(head.stream),
            received_at: EventTime::from_nanoseconds(head.received_at),
            parts: head.parts,
            bytes,
            seen: head.seen,
        })
    }
}

fn sum(bytes: &[u8]) -> String {
    Id::of(&[bytes]).to_string()
}

/// The folder of one connector's pages.
#[derive(Clone, Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    id: String,
}

/// The file with what a folder is known by.
const ID: &str = "id";

impl Spool {
    /// Makes the folder.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let path = folder.join(ID);
        let id = match fs::read_to_string(&path) {
            Ok(id) if !id.is_empty() => id,
            Ok(_) => Self::name_folder(&folder, &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::name_folder(&folder, &path)?
            }
            Err(error) => return Err(error),
        };
        Ok(Spool { folder, id })
    }

    fn name_folder(folder: &Path, path: &Path) -> io::Result<String> {
        let id = azud_client::sign::nonce(16);
        fs::write(path, &id)?;
        File::open(path)?.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(id)
    }

    /// Gives what the folder is known by: no other has it, nor one in its place later.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Gives its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a page: when this returns it is on disk, and before that there is nothing of its
    /// name.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn put(&self, name: &str, page: &Page) -> io::Result<()> {
        let fresh = self.folder.join(format!("{name}.new"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&page.write())?;
        file.sync_all()?;
        fs::rename(&fresh, self.path(name))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Reads a page; `None` when it is not there. One that is damaged is put aside and told.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn get(&self, name: &str) -> io::Result<Option<Page>> {
        let path = self.path(name);
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let page = Page::read(&file);
        if page.is_none() {
            let aside = path.with_extension("damaged");
            fs::rename(&path, &aside)?;
            tracing::error!(aside = %aside.display(), "a page that was polled is damaged and was \
                put aside; it is polled again where that is possible");
        }
        Ok(page)
    }

    /// Lists the names of the pages that are there.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".page")) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes a page. One that is removed twice is gone, too.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.page"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_joined, records_of};

    const AT: EventTime = EventTime::from_nanoseconds(1_772_359_200_000_000_000);

    fn page(records: &[&[u8]]) -> Page {
        let records: Vec<Vec<u8>> = records.iter().map(|record| record.to_vec()).collect();
        Page::new((StreamId(7), 100), AT, &records, vec![1, u64::MAX])
    }

    #[test]
    fn a_page_is_the_same_when_it_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().join("polls/okta")).unwrap();
        let long = vec![b'x'; RECORD_BYTES_MAX + 1];
        let many = vec![b'y'; BLOCK_BYTES / 2];
        let page = page(&[b"{\"a\":1}", &many, &many, &long, b"{}"]);
        spool.put("1-aa", &page).unwrap();
        let read = spool.get("1-aa").unwrap().unwrap();
        assert_eq!(read, page);
        let blocks = read.blocks(SourceIndex(3));
        assert_joined(&blocks);
        assert_eq!(blocks.len(), 4);
        assert_eq!((blocks[0].position, blocks[3].end), (100, page.end().1));
        let records = records_of(&blocks);
        assert_eq!(records.len(), 5);
        assert_eq!((records[0].as_str(), records[4].as_str()), ("{\"a\":1}", "{}"));
        assert!(records[3].starts_with("!too_long"), "{}", &records[3][..20]);
        assert_eq!(spool.names().unwrap(), ["1-aa"]);
        spool.remove("1-aa").unwrap();
        spool.remove("1-aa").unwrap();
        assert_eq!(spool.get("1-aa").unwrap(), None);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let whole = page(&[b"{\"a\":1}", b"{\"a\":2}"]).write();
        for at in 0..whole.len() {
            assert_eq!(Page::read(&whole[..at]), None, "cut at {at}");
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert_eq!(Page::read(&damaged), None, "flipped at {at}");
        }
        assert!(Page::read(&whole).is_some());
    }

    #[test]
    fn a_damaged_page_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_owned()).unwrap();
        spool.put("p", &page(&[b"{}"])).unwrap();
        fs::write(folder.path().join("p.page"), "half").unwrap();
        assert_eq!(spool.get("p").unwrap(), None);
        assert_eq!(spool.names().unwrap(), [""; 0]);
        assert!(folder.path().join("p.damaged").exists());
    }
}
