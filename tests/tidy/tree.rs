//! The files of the project.

use std::fs;
use std::path::{Path, PathBuf};

/// Gives the folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is a folder of the workspace")
}

/// A file of the project.
pub struct File {
    /// Its path from the root, with `/`.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// Gives its extension, if it has one.
    pub fn extension(&self) -> Option<&str> {
        Path::new(&self.name).extension()?.to_str()
    }

    /// Gives its name without folder and extension.
    pub fn stem(&self) -> &str {
        Path::new(&self.name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }
}

/// Reads every text file of the project, sorted by name.
///
/// Left out is what is made by building and running: `target`, and folders whose name begins with a
/// dot, but for those that configure the build.
pub fn files() -> Vec<File> {
    let mut paths = Vec::new();
    walk(root(), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = String::from_utf8(fs::read(&path).ok()?).ok()?;
        let name = path.strip_prefix(root()).expect("below the root").to_str()?.to_owned();
        Some(File { name, text })
    };
    paths.into_iter().filter_map(read).collect()
}

/// Reads every Rust file of the project, sorted by name.
pub fn rust_files() -> Vec<File> {
    files().into_iter().filter(|file| file.extension() == Some("rs")).collect()
}

fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            let hidden = name.starts_with('.') && ![".ci", ".cargo", ".config"].contains(&&*name);
            if name != "target" && !hidden {
                walk(&entry.path(), into);
            }
        } else if kind.is_file() {
            into.push(entry.path());
        }
    }
}

/// Whether this is a folder or module name that says nothing about what is in it.
fn says_nothing(name: &str) -> bool {
    let empty = ["util", "utils", "common", "helper", "helpers", "core", "misc", "stuff"];
    empty.contains(&name) || name.ends_with('2')
}

#[test]
fn every_room_and_module_has_a_name() {
    let mut found = Vec::new();
    for file in rust_files() {
        let folders = file.name.split('/').rev().skip(1);
        if folders.chain([file.stem()]).any(says_nothing) {
            found.push(format!("{}:1: a thing without a name has no room yet", file.name));
        }
    }
    super::assert_none("no util, common, helpers, core, misc, and no foo2", found);
}

#[test]
fn open_ends_have_an_issue() {
    let word = concat!("TO", "DO");
    let mut found = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            let Some((_, behind)) = line.split_once(word) else { continue };
            let issue = behind.trim_start_matches(['(', ' ']).strip_prefix('#');
            if !issue.is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit())) {
                found.push(format!("{}:{}: {}", file.name, number + 1, line.trim()));
            }
        }
    }
    super::assert_none(&format!("{word} is followed by the number of an issue: #12"), found);
}

/// A room that the image's build does not know stops it.
#[test]
fn the_image_is_made_of_every_room() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let (manifest, image, context) =
        (read("Cargo.toml"), read("Dockerfile"), read(".dockerignore"));
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).unwrap();
    let rooms = image.lines().find_map(|line| line.strip_prefix("RUN for room in ")).unwrap();
    let rooms: Vec<&str> = rooms.split([' ', ';']).collect();
    let mut found = Vec::new();
    for member in members.split(['"', ',', ' ', ']']).filter(|member| !member.is_empty()) {
        if !image.contains(&format!("\nCOPY {member}/Cargo.toml {member}/\n")) {
            found.push(format!("Dockerfile:1: the manifest of `{member}` is not copied"));
        }
        // The program and the tests have a `main.rs`.
        if !rooms.contains(&member) && !["server", "tests"].contains(&member) {
            found.push(format!("Dockerfile:1: `{member}` has no empty crate"));
        }
        if !context.lines().any(|line| line.split('/').next() == Some(&*format!("!{member}"))) {
            found.push(format!(".dockerignore:1: `{member}` is left out"));
        }
    }
    super::assert_none("the image is made of every room", found);
}

/// Paths that exist only where somebody happened to write a file.
#[test]
fn no_file_knows_where_it_was_written() {
    let places = [concat!("/wo", "rk/"), concat!("/ho", "me/runner"), concat!("/tmp/", "target")];
    let mut found = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            if places.iter().any(|place| line.contains(place)) {
                found.push(format!("{}:{}: {}", file.name, number + 1, line.trim()));
            }
        }
    }
    super::assert_none("the project does not depend on a place on somebody's machine", found);
}
