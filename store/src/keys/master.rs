//! The master key: where it comes from.

use super::KeyError;
use crate::seal::Key;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How many bytes of a file are looked at: Base64 of 32 bytes, and a line end.
const FILE_BYTES_MAX: u64 = 128;

/// Where a master key is kept; the names stand in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterKind {
    /// In a file.
    File,
    /// In an environment variable.
    Environment,
    /// In Vault.
    Vault,
    /// In AWS Secrets Manager.
    AwsSecretsManager,
}

impl MasterKind {
    /// Gives the stable name.
    pub fn name(self) -> &'static str {
        match self {
            MasterKind::File => "file",
            MasterKind::Environment => "env",
            MasterKind::Vault => "vault",
            MasterKind::AwsSecretsManager => "aws_secrets_manager",
        }
    }
}

/// A master key. It shows which one it is, and nothing of what it is.
#[derive(Clone, Debug)]
pub struct MasterKey {
    pub(super) kind: MasterKind,
    pub(super) version: String,
    pub(super) key: Key,
}

impl MasterKey {
    /// Makes one of its bytes; `version` is what its keeper calls it, where it does.
    pub fn new(kind: MasterKind, version: Option<&str>, bytes: [u8; 32]) -> Self {
        let hash = blake3::derive_key("azud 2026 fingerprint of a master key", &bytes);
        let fingerprint: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let version = match version {
            Some(version) => format!("{fingerprint}, version {version}"),
            None => fingerprint,
        };
        MasterKey { kind, version, key: Key::new(bytes) }
    }

    /// Reads one from text that somebody keeps for us: Base64 of 32 bytes. `place` names it in the
    /// error.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when it is something else.
    pub fn from_text(
        kind: MasterKind,
        version: Option<&str>,
        text: &str,
        place: &str,
    ) -> Result<Self, KeyError> {
        match decode(text.as_bytes()) {
            Some(bytes) => Ok(MasterKey::new(kind, version, *bytes)),
            None => Err(KeyError::Malformed { place: place.to_owned() }),
        }
    }

    /// Reads the environment variable `name`, whose value is given.
    ///
    /// # Errors
    /// [`KeyError::Unset`] when it has none, [`KeyError::Malformed`].
    pub fn from_environment(name: &str, value: Option<&str>) -> Result<Self, KeyError> {
        let value = value.ok_or_else(|| KeyError::Unset { name: name.to_owned() })?;
        let place = format!("the environment variable {name}");
        MasterKey::from_text(MasterKind::Environment, None, value, &place)
    }

    /// Reads a file that only its owner may read; `None` when there is none.
    ///
    /// # Errors
    /// [`KeyError::Exposed`], [`KeyError::Malformed`], [`KeyError::File`].
    pub fn from_file(path: &Path) -> Result<Option<Self>, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(Vec::new());
        file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
        match read(&text) {
            Some(bytes) => Ok(Some(MasterKey::new(MasterKind::File, None, *bytes))),
            None => Err(KeyError::Malformed { place: path.display().to_string() }),
        }
    }

    /// Makes a key that nobody can guess and a file of it that only its owner may read. The file is
    /// whole or not there, and none is ever replaced.
    ///
    /// # Errors
    /// [`KeyError::File`], also when there is one.
    pub fn make_file(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let key = Key::random()?;
        let text = Zeroizing::new(STANDARD.encode(key.bytes()) + "\n");
        let unfinished = path.with_extension(format!("new{}", std::process::id()));
        let made = write_beside(&unfinished, text.as_bytes())
            .and_then(|()| fs::hard_link(&unfinished, path));
        let removed = fs::remove_file(&unfinished);
        made.and(removed).map_err(failed)?;
        // Of a name alone the folder is the present one.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(MasterKey::new(MasterKind::File, None, *key.bytes()))
    }

    /// Says which one it is: a fingerprint, and the version that its keeper calls it by.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Says where it is kept.
    pub fn kind(&self) -> MasterKind {
        self.kind
    }
}

fn write_beside(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Reads 32 bytes as they are, or their Base64.
fn read(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    text.try_into().ok().map(Zeroizing::new).or_else(|| decode(text))
}

fn decode(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let decoded = Zeroizing::new(STANDARD.decode(text.trim_ascii()).ok()?);
    decoded.as_slice().try_into().ok().map(Zeroizing::new)
}

/// The master key of an instance, as far as it is there.
#[derive(Clone, Debug)]
pub enum Master {
    /// It is there.
    Ready(MasterKey),
    /// There is no such file; it is made when nothing was sealed yet.
    Absent(PathBuf),
}

impl Master {
    /// Looks for the file of a master key.
    ///
    /// # Errors
    /// As [`MasterKey::from_file`].
    pub fn file(path: &Path) -> Result<Self, KeyError> {
        let found = MasterKey::from_file(path)?;
        Ok(found.map_or_else(|| Master::Absent(path.to_owned()), Master::Ready))
    }

    /// Gives the key, and makes its file where there is none.
    pub(super) fn get_or_make(&self) -> Result<MasterKey, KeyError> {
        match self {
            Master::Ready(key) => Ok(key.clone()),
            Master::Absent(path) => match MasterKey::make_file(path) {
                // Another process was faster: its key is the key.
                Err(KeyError::File { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists =>
                {
                    let found = MasterKey::from_file(path)?;
                    found.ok_or(KeyError::File { path: path.clone(), source })
                }
                made => made,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(matches!(Master::file(&path).unwrap(), Master::Absent(_)));
        let made = MasterKey::make_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let read = MasterKey::from_file(&path).unwrap().unwrap();
        assert_eq!((made.version(), made.key.bytes()), (read.version(), read.key.bytes()));
        assert!(matches!(MasterKey::make_file(&path), Err(KeyError::File { .. })));
        let kept = MasterKey::from_file(&path).unwrap().unwrap();
        assert_eq!(kept.version(), made.version());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        MasterKey::make_file(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = MasterKey::from_file(&path).unwrap_err();
            assert!(matches!(refused, KeyError::Exposed { .. }), "{mode:o}");
            assert!(refused.to_string().contains(&format!("{mode:04o}")), "{refused}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        MasterKey::from_file(&path).unwrap().unwrap();
    }

    #[test]
    fn bytes_and_base64_are_the_same_key_and_nothing_else_is_one() {
        let bytes = [7; 32];
        let text = STANDARD.encode(bytes);
        let known = MasterKey::new(MasterKind::Environment, None, bytes);
        for text in [text.clone(), format!(" {text}\n")] {
            let read = MasterKey::from_environment("KEY", Some(&text)).unwrap();
            assert_eq!((read.version(), read.key.bytes()), (known.version(), &bytes));
        }
        assert_eq!(read(&bytes).as_deref(), Some(&bytes));
        for text in
            ["", "short", "thirty-two signs are no 32 bytes", &text[1..], &format!("{text}{text}")]
        {
            let refused = MasterKey::from_environment("KEY", Some(text)).unwrap_err();
            assert!(matches!(refused, KeyError::Malformed { .. }), "{text}");
            assert!(text.is_empty() || !refused.to_string().contains(text));
        }
        assert!(matches!(
            MasterKey::from_environment("KEY", None),
            Err(KeyError::Unset { name }) if name == "KEY"
        ));
        assert!(!format!("{known:?}").contains("7, 7"));
    }
}
