//! Reading a file of lines as it grows, each line once.

use super::files::Folder;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// How far a file was read.
pub struct Tail {
    name: &'static str,
    read: u64,
}

impl Tail {
    /// Begins at the beginning of a file that need not be there yet.
    pub fn new(name: &'static str) -> Self {
        Tail { name, read: 0 }
    }

    /// Gives the whole lines that were not given yet.
    pub fn lines(&mut self, folder: &Folder) -> Vec<String> {
        let Ok(mut file) = File::open(folder.join(self.name)) else { return Vec::new() };
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        self.read += end as u64 + 1;
        let text = std::str::from_utf8(&bytes[..end]).unwrap();
        text.split('\n').map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_comes_once_and_whole() {
        let (folder, mut tail) = (Folder::new(), Tail::new("log"));
        assert!(tail.lines(&folder).is_empty());
        folder.write("log", "one\n\ntw");
        assert_eq!(tail.lines(&folder), ["one", ""]);
        assert!(tail.lines(&folder).is_empty());
        folder.write("log", "one\n\ntwo\nthree\n");
        assert_eq!(tail.lines(&folder), ["two", "three"]);
    }
}
