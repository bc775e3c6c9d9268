//! Tries the outside world as a start would, and leaves nothing behind.

use super::instance::Instance;
use super::places::Places;
use crate::component::Resource;
use crate::diagnostic::{Diagnostic, codes};
use crate::plan::Plan;
use nix::unistd::{AccessFlags, access};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

/// Tries what the plan will hold of the outside: addresses, files, folders.
///
/// Each socket is bound and closed again at once; files are only asked for, so that nothing is made
/// or changed.
pub fn environment(plan: &Plan, instance: &Instance, places: &Places) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(address) = instance.api_address {
        let refused = listen("tcp", address, "the API");
        found.extend(refused.map(|refused| refused.at(places.find(&["api.address"]))));
    }
    let refused = writable(&instance.data_dir, "the instance");
    found.extend(refused.map(|refused| refused.at(places.find(&["data_dir"]))));
    let sources = plan.sources.iter().map(|source| (&source.id, source.spec.resources()));
    let sinks = plan.pipelines.iter().flat_map(|pipeline| &pipeline.sinks);
    let sinks = sinks.map(|sink| (&sink.id, sink.spec.resources()));
    for (id, resources) in sources.chain(sinks) {
        let owner = format!("`{id}`");
        found.extend(resources.into_iter().filter_map(|resource| match resource {
            Resource::TcpPort(address) => listen("tcp", address, &owner),
            Resource::UdpPort(address) => listen("udp", address, &owner),
            Resource::Reads(path) => readable(&path, &owner),
            Resource::Writes(path) | Resource::WritesBelow(path) => writable(&path, &owner),
        }));
    }
    found
}

fn listen(protocol: &str, address: SocketAddr, owner: &str) -> Option<Diagnostic> {
    let tried = match protocol {
        "tcp" => TcpListener::bind(address).map(drop),
        _ => UdpSocket::bind(address).map(drop),
    };
    let error = tried.err()?;
    let title = format!("{owner} cannot listen on {protocol} {address}: {error}");
    Some(match error.kind() {
        ErrorKind::PermissionDenied => Diagnostic::nowhere(codes::PORT_PRIVILEGED, title)
            .help("give the program CAP_NET_BIND_SERVICE, or take a port above 1023"),
        ErrorKind::AddrInUse => Diagnostic::nowhere(codes::ADDRESS_TAKEN, title)
            .help("`ss -lntup` shows who has it; if it is this instance, say --no-environment"),
        _ => Diagnostic::nowhere(codes::ADDRESS_TAKEN, title)
            .help("choose an address of this machine"),
    })
}

fn readable(path: &Path, owner: &str) -> Option<Diagnostic> {
    // What a pattern stands for may come later.
    if path.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte)) {
        return None;
    }
    let error = access(path, AccessFlags::R_OK).err()?;
    let title = format!("{owner} cannot read {}: {}", path.display(), error.desc());
    Some(
        Diagnostic::nowhere(codes::NOT_READABLE, title)
            .help("it must be there, and be open to the user that runs Azud"),
    )
}

/// Asks whether a file or folder may be written; where there is none yet, the nearest folder above,
/// in which it would be made.
pub fn writable(path: &Path, owner: &str) -> Option<Diagnostic> {
    let absolute = std::path::absolute(path).ok()?;
    let mut nearest = absolute.as_path();
    while !nearest.exists() {
        nearest = nearest.parent()?;
    }
    let above = nearest != absolute;
    let flags =
        if nearest.is_dir() { AccessFlags::W_OK | AccessFlags::X_OK } else { AccessFlags::W_OK };
    let reason = match access(nearest, flags) {
        Ok(()) if above && !nearest.is_dir() => "is a file, not a folder".to_owned(),
        Ok(()) => return None,
        Err(error) => error.desc().to_owned(),
    };
    let title = format!("{owner} cannot write {}: {}: {reason}", path.display(), nearest.display());
    Some(
        Diagnostic::nowhere(codes::NOT_WRITABLE, title)
            .help("give it to the user that runs Azud, or choose another place"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_found_and_a_free_one_left_alone() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(listen("tcp", address, "x").unwrap().code, codes::ADDRESS_TAKEN);
        drop(taken);
        assert_eq!(listen("tcp", address, "x"), None);
        assert_eq!(listen("tcp", address, "x"), None, "the first try left something behind");
        let foreign = "192.0.2.1:0".parse().unwrap();
        assert_eq!(listen("udp", foreign, "x").unwrap().code, codes::ADDRESS_TAKEN);
    }

    #[test]
    fn files_are_asked_for_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/out.log");
        assert_eq!(writable(&path, "x"), None);
        assert!(!folder.path().join("a").exists());
        let file = folder.path().join("file");
        assert_eq!(readable(&file, "x").unwrap().code, codes::NOT_READABLE);
        assert_eq!(readable(&folder.path().join("*.log"), "x"), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!((readable(&file, "x"), writable(&file, "x")), (None, None));
        assert_eq!(writable(&file.join("below"), "x").unwrap().code, codes::NOT_WRITABLE);
    }
}
