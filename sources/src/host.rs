//! The name of this machine, which sources that read here and not from the network give their
//! records.

use bytes::Bytes;
use std::sync::LazyLock;

static NAME: LazyLock<Bytes> = LazyLock::new(|| {
    if cfg!(test) {
        // The examples are the same wherever their tests run.
        return Bytes::from_static(b"web-1");
    }
    let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    own.map_or(Bytes::from_static(b"localhost"), Bytes::from)
});

/// Gives the name.
pub(crate) fn name() -> Bytes {
    NAME.clone()
}
