//! How a file is known again: after a restart, and under another name.

use azud_event::id::Id;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Which file of the system this is, as long as somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Reads it from a file's metadata.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Identity { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// What names a file for good, as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fingerprint(pub(super) String);

/// What a fingerprint is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// The first lines behind a header: stays the same when a file is renamed or copied.
    Checksum { lines: usize, ignored_header_bytes: u64 },
    /// Where the file stands: for files that may begin with the same lines.
    DeviceAndInode,
}

/// What a look at a file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Its fingerprint.
    Known(Fingerprint),
    /// Its first lines are not there yet.
    TooShort,
    /// It is no text: gzip.
    Compressed,
}

/// How much is read at a time to find the first lines.
const PIECE: usize = 4 * 1024;

impl Strategy {
    /// Looks at a file. Of a line no more than `line_bytes_max` counts.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn look(&self, file: &File, line_bytes_max: usize) -> io::Result<Look> {
        let mut magic = [0; 2];
        if file.read_at(&mut magic, 0)? == 2 && magic == [0x1f, 0x8b] {
            return Ok(Look::Compressed);
        }
        match *self {
            Strategy::DeviceAndInode => {
                let Identity { device, inode } = Identity::of(&file.metadata()?);
                Ok(Look::Known(Fingerprint(format!("{device}:{inode}"))))
            }
            Strategy::Checksum { lines, ignored_header_bytes } => {
                let head = first_lines(file, ignored_header_bytes, lines, line_bytes_max)?;
                Ok(head.map_or(Look::TooShort, |head| {
                    Look::Known(Fingerprint(Id::of(&[b"lines", &head]).to_string()))
                }))
            }
        }
    }
}

/// Reads the first lines from `start` on, or as much of them as counts; `None` when they are not
/// there yet.
fn first_lines(
    file: &File,
    start: u64,
    lines: usize,
    line_bytes_max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let bytes_max = lines.saturating_mul(line_bytes_max.saturating_add(1));
    let mut head = Vec::new();
    let mut ends = 0;
    while head.len() < bytes_max {
        let known = head.len();
        head.resize(known + PIECE.min(bytes_max - known), 0);
        let bytes = match file.read_at(&mut head[known..], start + known as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        head.truncate(known + bytes);
        for end in memchr::memchr_iter(b'\n', &head[known..]) {
            ends += 1;
            if ends == lines {
                head.truncate(known + end);
                return Ok(Some(head));
            }
        }
        if bytes == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

/// Gives where the last line starts that begins at or before `length`: a line that is half written
/// is read whole.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn last_line_start(file: &File, length: u64, line_bytes_max: usize) -> io::Result<u64> {
    let window = (line_bytes_max as u64 + 1).min(length);
    let start = length - window;
    let mut tail = vec![0; usize::try_from(window).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut tail, start)?;
    Ok(match memchr::memrchr(b'\n', &tail) {
        Some(at) => start + at as u64 + 1,
        // All of the file, or a line that is too long anyway.
        None if start == 0 => 0,
        None => length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const FIRST_LINE: Strategy = Strategy::Checksum { lines: 1, ignored_header_bytes: 0 };

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn look(strategy: Strategy, content: &[u8]) -> Look {
        strategy.look(&file(content), 10_000).unwrap()
    }

    #[test]
    fn the_first_lines_tell_files_apart() {
        assert_eq!(look(FIRST_LINE, b"one\ntwo\n"), look(FIRST_LINE, b"one\nthree"));
        assert_ne!(look(FIRST_LINE, b"one\n"), look(FIRST_LINE, b"other\n"));
        let two = Strategy::Checksum { lines: 2, ignored_header_bytes: 0 };
        assert_ne!(look(two, b"one\ntwo\n"), look(two, b"one\nthree\n"));
        let behind = Strategy::Checksum { lines: 1, ignored_header_bytes: 4 };
        assert_ne!(look(behind, b"one\ntwo\n"), look(behind, b"one\nthree\n"));
    }

    #[test]
    fn a_line_counts_once_it_is_whole_however_long() {
        assert_eq!(look(FIRST_LINE, b""), Look::TooShort);
        assert_eq!(look(FIRST_LINE, b"half a li"), Look::TooShort);
        let long = [vec![b'a'; 9_000], b"\n".to_vec()].concat();
        assert!(matches!(look(FIRST_LINE, &long), Look::Known(_)));
        assert_eq!(look(FIRST_LINE, &long[..9_000]), Look::TooShort);
        // Too long to be a record, but there for good.
        assert!(matches!(look(FIRST_LINE, &[b'a'; 20_000]), Look::Known(_)));
        assert_eq!(look(FIRST_LINE, &[b'a'; 20_000]), look(FIRST_LINE, &[b'a'; 30_000]));
    }

    #[test]
    fn compressed_files_are_told_apart() {
        assert_eq!(look(FIRST_LINE, b"\x1f\x8b\x08rest\n"), Look::Compressed);
        assert_eq!(look(Strategy::DeviceAndInode, b"\x1f\x8b\x08rest\n"), Look::Compressed);
    }

    #[test]
    fn a_half_written_line_is_read_from_its_start() {
        let start = |content: &[u8], bytes_max| {
            last_line_start(&file(content), content.len() as u64, bytes_max).unwrap()
        };
        assert_eq!(start(b"one\ntwo\n", 100), 8);
        assert_eq!(start(b"one\ntw", 100), 4);
        assert_eq!(start(b"on", 100), 0);
        assert_eq!(start(b"", 100), 0);
        assert_eq!(start(b"one\ntoo long to wait for", 5), 24);
    }
}
