//! The socket in the data folder by which commands ask the instance that runs. Who owns the
//! instance, and root, may do everything by it: they can read the folder anyway. It needs no port,
//! no token and no TLS, and is there also when the API does not listen.

use nix::unistd::Uid;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// Its name in the data folder.
pub const SOCKET: &str = "azud.sock";

/// How long a path the system takes for the address of a socket, in bytes.
const ADDRESS_BYTES_MAX: usize = 100;

/// The listening socket.
pub struct LocalSocket {
    listener: UnixListener,
}

impl LocalSocket {
    /// Opens it. One that was left behind is replaced: whoever calls this holds the folder.
    ///
    /// # Errors
    /// What the system answers.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (_folder, address) = address(data_dir)?;
        let listener = UnixListener::bind(&address)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(LocalSocket { listener })
    }

    /// Takes a connection; `None` of one that may not.
    ///
    /// # Errors
    /// What the system answers.
    pub async fn accept(&self) -> io::Result<Option<UnixStream>> {
        let (stream, _) = self.listener.accept().await?;
        // The file's permissions say the same, but for the moment in which it was made.
        let caller = Uid::from_raw(stream.peer_cred()?.uid());
        if caller.is_root() || caller == Uid::effective() {
            return Ok(Some(stream));
        }
        tracing::warn!(user = caller.as_raw(), "another user may not ask by the socket {SOCKET}");
        Ok(None)
    }
}

/// Asks for a connection to the instance of a data folder.
///
/// # Errors
/// What the system answers: nothing is there, or nobody listens any more.
pub fn connect(data_dir: &Path) -> io::Result<BlockingStream> {
    let (_folder, address) = address(data_dir)?;
    BlockingStream::connect(address)
}

/// Gives the address of the socket, with what must stay open as long as it is used.
fn address(data_dir: &Path) -> io::Result<(Option<File>, PathBuf)> {
    let path = data_dir.join(SOCKET);
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return Ok((None, path));
    }
    // The same folder, by a shorter name.
    let folder = File::open(data_dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
    Ok((Some(folder), path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Says something through the socket of a folder.
    async fn greet(folder: &Path) -> String {
        let socket = LocalSocket::bind(folder).unwrap();
        let at = folder.to_owned();
        let caller = tokio::task::spawn_blocking(move || {
            let mut stream = connect(&at).unwrap();
            stream.write_all(b"x").unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).unwrap();
            heard
        });
        let mut stream = socket.accept().await.unwrap().expect("it is this user");
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        stream.write_all(b"hello").await.unwrap();
        drop(stream);
        caller.await.unwrap()
    }

    #[tokio::test]
    async fn who_owns_the_instance_gets_through_however_long_the_path_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(greet(folder.path()).await, "hello");
        // One that was left behind by a kill.
        assert_eq!(greet(folder.path()).await, "hello");
        let mode = fs::metadata(folder.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let long = folder.path().join("x".repeat(150));
        fs::create_dir(&long).unwrap();
        assert_eq!(greet(&long).await, "hello");
    }

    #[test]
    fn where_nothing_runs_nobody_answers() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(connect(folder.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
