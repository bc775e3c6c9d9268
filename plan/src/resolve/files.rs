//! Finds and reads the documents.

use super::nowhere;
use crate::diagnostic::{Checker, codes};
use crate::document::{DOCUMENT_BYTES_MAX, Document, Sources};
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How deep folders may be nested; also the end of a circle of symbolic links.
const FOLDER_DEPTH_MAX: usize = 32;

/// The documents that were read, in the order of their numbers.
pub(super) struct Documents {
    /// Those that are TOML.
    pub read: Vec<File>,
    /// Whether some could not be read: then what they hold must not be missed.
    pub incomplete: bool,
}

/// A document with its name.
pub(super) struct File {
    pub document: Document,
    /// Its path below the folder that was named, without `.toml`.
    pub name: String,
    /// Its folder, as it was named.
    pub folder: PathBuf,
    /// Whether it holds tests of the document of the same name.
    pub is_case: bool,
}

struct Found {
    path: PathBuf,
    name: String,
    is_case: bool,
}

/// Reads everything that `inputs` name.
pub(super) fn read(
    inputs: &[PathBuf],
    cases: bool,
    sources: &mut Sources,
    checker: &mut Checker,
) -> Documents {
    let mut found = Vec::new();
    for input in inputs {
        if input.is_dir() {
            walk(input, input, cases, FOLDER_DEPTH_MAX, &mut found, checker);
        } else {
            let name = input.file_name().map(PathBuf::from).unwrap_or_default();
            found.push(named(input.clone(), &name));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    // A file that was named and stands in a folder that was named too is one document.
    let mut seen = HashSet::new();
    found.retain(|file| seen.insert(file.path.canonicalize().unwrap_or(file.path.clone())));
    let mut documents = Documents { read: Vec::new(), incomplete: false };
    for file in found {
        match open(file, sources, checker) {
            Some(file) => documents.read.push(file),
            None => documents.incomplete = true,
        }
    }
    refuse_equal_names(&documents, sources, checker);
    documents
}

fn walk(
    root: &Path,
    folder: &Path,
    cases: bool,
    depth: usize,
    found: &mut Vec<Found>,
    checker: &mut Checker,
) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return unreadable(folder, &error.to_string(), checker),
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            match depth.checked_sub(1) {
                Some(depth) => walk(root, &path, cases, depth, found, checker),
                None => unreadable(&path, "folders are nested too deep", checker),
            }
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
            let file = named(path, &name);
            if cases || !file.is_case {
                found.push(file);
            }
        }
    }
}

fn named(path: PathBuf, name: &Path) -> Found {
    let name = name.with_extension("").to_string_lossy().replace('\\', "/");
    match name.strip_suffix(".case") {
        Some(name) => Found { path, name: name.to_owned(), is_case: true },
        None => Found { path, name, is_case: false },
    }
}

fn open(
    Found { path, name, is_case }: Found,
    sources: &mut Sources,
    checker: &mut Checker,
) -> Option<File> {
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(error) => {
            unreadable(&path, &error.to_string(), checker);
            return None;
        }
    };
    let file = sources.add(path.to_string_lossy(), text);
    let text = &sources.files[file as usize].text;
    let document = Document::parse(file, text, checker)?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    Some(File { document, name, folder, is_case })
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    // One byte more than allowed, so that parsing says that it is too long.
    let limit = DOCUMENT_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, reason: &str, checker: &mut Checker) {
    checker
        .report(nowhere(codes::UNREADABLE, format!("{} cannot be read: {reason}", path.display())));
}

/// Two documents of one name would share the ids of their components.
fn refuse_equal_names(documents: &Documents, sources: &Sources, checker: &mut Checker) {
    for (number, file) in documents.read.iter().enumerate() {
        let earlier = &documents.read[..number];
        let same = |other: &&File| other.name == file.name && other.is_case == file.is_case;
        if let Some(other) = earlier.iter().find(same) {
            let path = |file: &File| sources.files[file.document.file as usize].name.clone();
            let title = format!(
                "two documents have the name `{}`: {} and {}",
                file.name,
                path(other),
                path(file)
            );
            checker.report(nowhere(codes::DUPLICATE, title).help(
                "a document's name is its path below the folder that is named; name one \
                           folder above both",
            ));
        }
    }
}
