//! Finds and reads the documents.

use crate::diagnostic::{Checker, Diagnostic, codes};
use crate::document::{DOCUMENT_BYTES_MAX, Document, Sources, Table};
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The document of the instance.
const INSTANCE_FILE: &str = "azud.toml";

/// How deep folders may be nested; also the end of a circle of symbolic links.
const FOLDER_DEPTH_MAX: usize = 32;

/// The documents that were read, in the order of their numbers.
#[derive(Default)]
pub(super) struct Documents {
    /// Those that are TOML.
    pub read: Vec<File>,
    /// Whether some could not be read: then what they hold must not be missed.
    pub incomplete: bool,
}

/// A document with its name.
pub(super) struct File {
    pub document: Document,
    /// What it holds as it was written, before anything was filled in.
    pub unfilled: Table,
    /// Its path below the folder that was named, without `.toml`.
    pub name: String,
    /// Its folder, as it was named.
    pub folder: PathBuf,
    /// Whether it holds tests of the document of the same name.
    pub is_case: bool,
    /// Whether its components have its name before theirs.
    pub prefix: Prefix,
}

/// Whether the components of a document have its name before theirs, so that those of others may
/// have the same. Ids name cursors and state, so they must not hang on what else is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    /// It stands in a folder, where others may be added.
    Always,
    /// It is `azud.toml`, of which there is one.
    Never,
    /// It was named by itself: unless others were named with it.
    AmongOthers,
}

struct Found {
    path: PathBuf,
    name: String,
    is_case: bool,
    prefix: Prefix,
}

/// Documents as they are being read.
#[derive(Default)]
pub(super) struct Reading {
    pub documents: Documents,
    pub sources: Sources,
    pub checker: Checker,
}

impl Reading {
    /// Reads everything that `inputs` name.
    pub fn files(&mut self, inputs: &[PathBuf], cases: bool) {
        let mut found = Vec::new();
        for input in inputs {
            if input.is_dir() {
                walk(input, input, cases, FOLDER_DEPTH_MAX, &mut found, &mut self.checker);
            } else {
                let name = input.file_name().map(PathBuf::from).unwrap_or_default();
                let prefix = match name.as_os_str() == INSTANCE_FILE {
                    true => Prefix::Never,
                    false => Prefix::AmongOthers,
                };
                found.push(named(input.clone(), &name, prefix));
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        // A file that was named and stands in a folder that was named too is one document.
        let mut seen = HashSet::new();
        found.retain(|file| seen.insert(file.path.canonicalize().unwrap_or(file.path.clone())));
        for Found { path, name, is_case, prefix } in found {
            match read_text(&path) {
                Ok(text) => {
                    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
                    self.parse(&path.to_string_lossy(), text, (name, folder), is_case, prefix);
                }
                Err(error) => {
                    unreadable(&path, &error.to_string(), &mut self.checker);
                    self.documents.incomplete = true;
                }
            }
        }
        refuse_equal_names(&self.documents, &self.sources, &mut self.checker);
    }

    /// Takes in a document that is no file.
    pub fn text(&mut self, name: &str, text: &str) {
        let path = format!("{name}.toml");
        let place = (name.to_owned(), PathBuf::new());
        self.parse(&path, text.to_owned(), place, false, Prefix::AmongOthers);
    }

    fn parse(
        &mut self,
        path: &str,
        text: String,
        (name, folder): (String, PathBuf),
        is_case: bool,
        prefix: Prefix,
    ) {
        let file = self.sources.add(path, text);
        let text = &self.sources.files[file as usize].text;
        match Document::parse(file, text, &mut self.checker) {
            Some(document) => {
                let unfilled = document.root.clone();
                let file = File { document, unfilled, name, folder, is_case, prefix };
                self.documents.read.push(file);
            }
            None => self.documents.incomplete = true,
        }
    }
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
            let file = named(path, &name, Prefix::Always);
            if cases || !file.is_case {
                found.push(file);
            }
        }
    }
}

fn named(path: PathBuf, name: &Path, prefix: Prefix) -> Found {
    let name = name.with_extension("").to_string_lossy().replace('\\', "/");
    match name.strip_suffix(".case") {
        Some(name) => Found { path, name: name.to_owned(), is_case: true, prefix },
        None => Found { path, name, is_case: false, prefix },
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    // One byte more than allowed, so that parsing says that it is too long.
    let limit = DOCUMENT_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, reason: &str, checker: &mut Checker) {
    checker.report(Diagnostic::nowhere(
        codes::UNREADABLE,
        format!("{} cannot be read: {reason}", path.display()),
    ));
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
            checker.report(Diagnostic::nowhere(codes::DUPLICATE, title).help(
                "a document's name is its path below the folder that is named; name one \
                           folder above both",
            ));
        }
    }
}
