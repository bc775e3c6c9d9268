//! A folder of a test's own, gone with it.

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A new, empty folder that is removed when it is dropped.
pub struct Folder(TempDir);

impl Folder {
    /// Makes one.
    pub fn new() -> Self {
        Folder(tempfile::Builder::new().prefix("azud-test-").tempdir().unwrap())
    }

    /// Gives its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gives the path of a file in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file, and the folders on the way to it; gives its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Gives the whole lines of a file so far; none while there is no file.
    ///
    /// A last line without its end is left out: who writes the file may be in the middle of it.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = match fs::read(self.join(name)) {
            Ok(text) => String::from_utf8(text).unwrap(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => panic!("{name}: {error}"),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_no_line() {
        let folder = Folder::new();
        assert!(folder.lines("out/log").is_empty());
        folder.write("out/log", "one\n\ntwo\nthr");
        assert_eq!(folder.lines("out/log"), ["one", "", "two"]);
    }

    #[test]
    fn it_is_gone_with_its_owner() {
        let folder = Folder::new();
        let path = folder.write("a/b.txt", "text");
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
    }
}
