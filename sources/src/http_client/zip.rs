//! The files of a ZIP archive (APPNOTE 6.3.10), as far as APIs send such: stored or deflated, not
//! encrypted, in one part.

use azud_client::{Failure, undeflate};
use azud_plan::component::Cause;

/// How many files an archive may have.
const FILES_MAX: usize = 10_000;

/// A file of an archive, or what else was packed.
pub(super) struct File {
    /// The type of its content, as a `Content-Type` or the end of its name says.
    pub(super) kind: String,
    pub(super) bytes: Vec<u8>,
}

impl File {
    /// Makes a file of a type.
    pub(super) fn of_type(kind: &str, bytes: Vec<u8>) -> File {
        File { kind: kind.to_owned(), bytes }
    }

    fn named(name: &str, bytes: Vec<u8>) -> File {
        let end = name.trim_end_matches(".gz").rsplit('.').next().unwrap_or_default();
        File { kind: end.to_ascii_lowercase(), bytes }
    }
}

fn broken(what: &str) -> Failure {
    Failure::new(Cause::Response, format!("the ZIP archive {what}"))
}

/// Gives the files of an archive, inflated, which are together at most so many bytes.
///
/// # Errors
/// When it is damaged, cut short, or too large.
pub(super) fn files(archive: &[u8], bytes_max: usize) -> Result<Vec<File>, Failure> {
    let cut = || broken("is cut short");
    let signature = archive.windows(4).rposition(|four| four == b"PK\x05\x06").ok_or_else(cut)?;
    let count = number(archive, signature + 10, 2).ok_or_else(cut)?;
    let mut at = number(archive, signature + 16, 4).ok_or_else(cut)?;
    if count > FILES_MAX {
        return Err(broken(&format!("has {count} files, above the limit of {FILES_MAX}")));
    }
    let mut files = Vec::new();
    let mut left = bytes_max;
    for _ in 0..count {
        let head = archive.get(at..at + 46).filter(|head| head.starts_with(b"PK\x01\x02"));
        let head = head.ok_or_else(|| broken("has a damaged list of files"))?;
        let field = |from, length| number(head, from, length).ok_or_else(cut);
        let (flags, method, length) = (field(8, 2)?, field(10, 2)?, field(20, 4)?);
        let (name_length, extra, comment) = (field(28, 2)?, field(30, 2)?, field(32, 2)?);
        let local = field(42, 4)?;
        let name = archive.get(at + 46..at + 46 + name_length).ok_or_else(cut)?;
        let name = String::from_utf8_lossy(name).into_owned();
        at += 46 + name_length + extra + comment;
        if name.ends_with('/') {
            continue;
        }
        if flags & 1 != 0 {
            return Err(broken("is encrypted"));
        }
        let (skip_name, skip_extra) =
            (number(archive, local + 26, 2).ok_or_else(cut)?, number(archive, local + 28, 2));
        let start = local + 30 + skip_name + skip_extra.ok_or_else(cut)?;
        let end = start.checked_add(length).ok_or_else(cut)?;
        let data = archive.get(start..end).ok_or_else(cut)?;
        let bytes = match method {
            0 if data.len() <= left => data.to_vec(),
            8 => undeflate(data, left)?,
            0 => return Err(broken("is larger than an answer may be")),
            _ => return Err(broken(&format!("is packed by method {method}"))),
        };
        left -= bytes.len();
        files.push(File::named(&name, bytes));
    }
    Ok(files)
}

/// Reads a number, little endian.
fn number(bytes: &[u8], from: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(from..from.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::packing::zip;
    use super::*;
    use proptest::prelude::*;

    /// `a.json` stored as `{"a":1}`, and an empty folder `d/`.
    fn archive() -> Vec<u8> {
        let files = [("a.json", &b"{\"a\":1}"[..]), ("d/", b"")];
        zip(&files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())))
    }

    #[test]
    fn files_are_found_and_folders_are_none() {
        let files = files(&archive(), 1 << 20).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].kind.as_str(), &files[0].bytes[..]), ("json", &b"{\"a\":1}"[..]));
        assert!(super::files(&archive(), 6).is_err(), "too large");
    }

    #[test]
    fn what_is_cut_short_is_told_at_every_byte() {
        let whole = archive();
        for length in 0..whole.len() - 2 {
            assert!(files(&whole[..length], 1 << 20).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_damage_can_be_read(at in 0_usize..200, value in any::<u8>()) {
            let mut damaged = archive();
            let length = damaged.len();
            damaged[at % length] = value;
            let _ = files(&damaged, 1 << 16);
        }
    }
}
