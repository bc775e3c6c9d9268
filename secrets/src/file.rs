//! `file`: a file that holds one JSON object, from keys to texts. It is read each time, so that a
//! file that was replaced counts.

use crate::limits::ANSWER_BYTES_MAX;
use crate::tell::{missing, unavailable};
use crate::wiped::{Wiped, secret};
use azud_plan::component::{Secret, SecretBackend, SecretError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

/// A file.
pub(crate) struct File {
    name: String,
    path: PathBuf,
}

impl File {
    /// Makes the backend of this name.
    pub fn new(name: String, path: PathBuf) -> Self {
        File { name, path }
    }

    async fn find(&self, key: &str) -> Result<Secret, SecretError> {
        let path = self.path.display();
        let down = |why: String| unavailable(&self.name, why);
        let text = read_bounded(&self.path, ANSWER_BYTES_MAX).await;
        let text = text.map_err(|error| down(format!("{path} cannot be read: {error}")))?;
        // Half a file is one that is being written.
        let object = Wiped::parse(&text).map_err(|why| down(format!("{path} is {why}")))?;
        let Some(members) = object.as_object() else {
            return Err(down(format!("{path} is no JSON object")));
        };
        secret(members.get(key)).map_err(|why| missing(&self.name, key, why))
    }
}

impl SecretBackend for File {
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        self.find(key).boxed()
    }
}

/// Reads a file of at most so many bytes.
pub(crate) async fn read_bounded(path: &Path, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = tokio::fs::File::open(path).await?;
    // Made as large as it may become: memory that grows leaves copies behind.
    let size = usize::try_from(file.metadata().await?.len()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.min(max) + 1));
    file.take(max as u64 + 1).read_to_end(&mut bytes).await?;
    match bytes.len() > max {
        true => Err(io::Error::other(format!("it is above the limit of {max} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn the_file_is_read_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        let backend = File::new("file".to_owned(), path.clone());
        assert!(matches!(backend.read("a").await, Err(SecretError::Unavailable(_))));
        fs::write(&path, r#"{"a":"one","b":[]}"#).unwrap();
        assert_eq!(backend.read("a").await.unwrap().reveal(), "one");
        fs::write(&path, r#"{"a":"two"}"#).unwrap();
        assert_eq!(backend.read("a").await.unwrap().reveal(), "two");
        let missing = "secret backend `file` has no `c` (not there)";
        assert_eq!(backend.read("c").await.unwrap_err().to_string(), missing);
        for broken in ["", "{\"a\":\"hid", "[\"hidden\"]"] {
            fs::write(&path, broken).unwrap();
            let error = backend.read("a").await.unwrap_err();
            assert!(matches!(error, SecretError::Unavailable(_)), "{broken}");
            assert!(!error.to_string().contains("hid"), "{error}");
        }
        fs::write(&path, vec![b' '; ANSWER_BYTES_MAX + 1]).unwrap();
        let error = backend.read("a").await.unwrap_err().to_string();
        assert!(error.contains("above the limit"), "{error}");
    }
}
