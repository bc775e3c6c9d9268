//! `directory`: a folder with a file for each secret, as systemd, Docker and Kubernetes lay it out.

use crate::file::read_bounded;
use crate::limits::SECRET_BYTES_MAX;
use crate::tell::{missing, unavailable};
use crate::wiped::bounded;
use azud_plan::component::{BuildError, Secret, SecretBackend, SecretError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// Where systemd puts the credentials of a service (systemd.exec(5), `LoadCredential=`).
const SYSTEMD: &str = "CREDENTIALS_DIRECTORY";

/// A folder.
pub(crate) struct Directory {
    name: String,
    path: PathBuf,
    trims: bool,
}

impl Directory {
    /// Makes the backend of this name.
    ///
    /// # Errors
    /// When no folder is named, and systemd gives none.
    pub fn new(name: String, path: Option<&Path>, trims: bool) -> Result<Self, BuildError> {
        let path = path.map(Path::to_owned).or_else(|| std::env::var_os(SYSTEMD).map(Into::into));
        let Some(path) = path else {
            return Err(BuildError {
                message: format!("the secret backend `{name}` has no folder: {SYSTEMD} is not set"),
                help: Some(
                    "write its `path`, or give credentials to the unit (`LoadCredential=`)".into(),
                ),
            });
        };
        Ok(Directory { name, path, trims })
    }

    async fn find(&self, key: &str) -> Result<Secret, SecretError> {
        let missing = |why: String| missing(&self.name, key, why);
        let mut parts = Path::new(key).components();
        if key.contains('\0') || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(missing("it would lead out of the folder".to_owned()));
        }
        let path = self.path.join(key);
        let bytes = match read_bounded(&path, SECRET_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound && self.path.is_dir() => {
                return Err(missing(format!("{} is not there", path.display())));
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(missing(format!("{} is closed to us", path.display())));
            }
            Err(error) => {
                let why = format!("{} cannot be read: {error}", path.display());
                return Err(unavailable(&self.name, why));
            }
        };
        let text = std::str::from_utf8(&bytes);
        let text = text.map_err(|_| missing(format!("{} is not UTF-8", path.display())))?;
        let text = if self.trims { text.trim_end() } else { text };
        bounded(text).map_err(|why| missing(format!("{} is {why}", path.display())))
    }
}

impl SecretBackend for Directory {
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        self.find(key).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn each_file_is_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let backend = |trims| Directory::new("d".to_owned(), Some(&path), trims).unwrap();
        assert!(matches!(backend(false).read("a").await, Err(SecretError::Unavailable(_))));
        fs::create_dir_all(path.join("okta")).unwrap();
        fs::write(path.join("a"), "one\n").unwrap();
        fs::write(path.join("okta/token"), "two").unwrap();
        fs::write(path.join("binary"), [0xff]).unwrap();
        fs::write(path.join("empty"), "\n").unwrap();
        fs::write(folder.path().join("outside"), "hidden").unwrap();
        assert_eq!(backend(false).read("a").await.unwrap().reveal(), "one\n");
        assert_eq!(backend(true).read("a").await.unwrap().reveal(), "one");
        assert_eq!(backend(true).read("okta/token").await.unwrap().reveal(), "two");
        for key in ["none", "binary", "empty", "../outside", "/etc/passwd", "a/../a"] {
            let error = backend(true).read(key).await.unwrap_err();
            assert!(matches!(error, SecretError::Missing(_)), "{key}: {error}");
        }
    }
}
