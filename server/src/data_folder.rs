//! Finding the data folder of an instance, and saying why it cannot be looked at.

use crate::cli::{Documents, Global};
use crate::outcome::Outcome;
use azud_engine::inspect::InspectError;
use azud_engine::log::LogError;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Finds the folder: the one that was named, else the one of the documents here, else the usual.
///
/// # Errors
/// Said on standard error: the documents here have faults.
pub fn find(named: Option<&Path>, global: &Global) -> Result<PathBuf, Outcome> {
    if let Some(folder) = named {
        return Ok(folder.to_owned());
    }
    let here = Documents::here();
    if here.all().is_empty() {
        return Ok(PathBuf::from(azud_plan::resolve::DATA_DIR));
    }
    let instance = crate::documents::instance_or_explain(&here, global);
    Ok(instance.ok_or(Outcome::Faults)?.data_dir)
}

/// Makes a data folder, which only its owner may read: what was taken in lies in it as it came.
///
/// # Errors
/// What the system answers.
pub fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Warns where others may read what was taken in.
pub fn warn_of_readers(folder: &Path) {
    let mode = folder.metadata().map(|found| found.permissions().mode()).unwrap_or_default();
    if mode & 0o007 != 0 {
        let folder = folder.display();
        tracing::warn!(
            "every user of this machine may read what was taken in: close the data folder with \
             `chmod o= {folder}`"
        );
    }
}

/// The file that says which life of a data folder this is.
pub const INCARNATION: &str = "incarnation";

/// Reads which life of a data folder this is.
///
/// # Errors
/// When the folder is not there, or no instance has run with it.
pub fn incarnation(folder: &Path) -> Result<[u8; 16], InspectError> {
    let path = folder.join(INCARNATION);
    let folder = folder.to_owned();
    match std::fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            let source = std::io::Error::other("it has not the 16 bytes that it should have");
            InspectError::Io { path, source }
        }),
        Err(_) if !folder.is_dir() => Err(InspectError::NoFolder { folder }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(InspectError::Nothing { folder, what: "dead letters" })
        }
        Err(source) => Err(InspectError::Io { path, source }),
    }
}

/// Says why a data folder cannot be looked at, and what to do.
pub fn explain(error: &InspectError) -> Outcome {
    let source = std::error::Error::source(error);
    // An error that shows its cause itself has it in its text already.
    let cause = source.map(ToString::to_string).filter(|cause| !error.to_string().contains(cause));
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    eprintln!("error[E008]: {error}{cause}");
    eprintln!("help: {}", help(error));
    Outcome::Environment
}

fn help(error: &InspectError) -> &'static str {
    match error {
        InspectError::NoFolder { .. } => {
            "name the folder of the instance's data with --data-dir, or go to where its documents are"
        }
        InspectError::Nothing { what: "dead letters", .. } => {
            "nothing was set aside, or this is not the data folder of an instance"
        }
        InspectError::Nothing { .. } => {
            "either it is not the data folder of an instance that has run, or the instance keeps \
             none (`intake.durability = \"memory\"`)"
        }
        InspectError::Log(LogError::TooNew { .. }) => {
            "use the version that wrote it, or a later one"
        }
        _ => "see that you may read it (the instance's user may), and that its disk is well",
    }
}
