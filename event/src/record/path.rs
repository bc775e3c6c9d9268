//! Paths made ready to be followed in record after record.

use super::tree::{Key, METADATA, ROOT};
use vrl::path::{OwnedSegment, OwnedTargetPath, OwnedValuePath, PathPrefix};

/// A path into the event or its metadata, with the names on it hashed once for all records.
#[derive(Clone, Debug)]
pub struct Path {
    target: OwnedTargetPath,
    /// One for each segment.
    keys: Box<[Key]>,
}

impl From<OwnedTargetPath> for Path {
    fn from(target: OwnedTargetPath) -> Self {
        let keys = target.path.segments.iter().map(key_of).collect();
        Path { target, keys }
    }
}

/// A path as a record follows it: a [`Path`], or one that was not made ready.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    pub(super) root: u32,
    pub(super) segments: &'a [OwnedSegment],
    /// One for each segment, or none.
    keys: &'a [Key],
}

impl<'a> Steps<'a> {
    pub(super) fn new(root: u32, segments: &'a [OwnedSegment]) -> Self {
        Steps { root, segments, keys: &[] }
    }

    /// Gives the segments from `depth` on.
    pub(super) fn rest(self, depth: usize) -> &'a [OwnedSegment] {
        &self.segments[depth..]
    }

    /// Gives the name at `depth` as it is looked for, when a name is there.
    #[inline]
    pub(super) fn name(self, depth: usize) -> Option<(Key, &'a str)> {
        let OwnedSegment::Field(name) = &self.segments[depth] else { return None };
        let key = self.keys.get(depth).copied().unwrap_or_else(|| Key::of(name.as_bytes()));
        Some((key, name))
    }
}

impl<'a> From<&'a Path> for Steps<'a> {
    #[inline]
    fn from(path: &'a Path) -> Self {
        Steps { keys: &path.keys, ..Steps::from(&path.target) }
    }
}

/// A path of the event.
impl<'a> From<&'a OwnedValuePath> for Steps<'a> {
    #[inline]
    fn from(path: &'a OwnedValuePath) -> Self {
        Steps::new(ROOT, &path.segments)
    }
}

impl<'a> From<&'a OwnedTargetPath> for Steps<'a> {
    #[inline]
    fn from(path: &'a OwnedTargetPath) -> Self {
        let root = match path.prefix {
            PathPrefix::Event => ROOT,
            PathPrefix::Metadata => METADATA,
        };
        Steps::new(root, &path.path.segments)
    }
}

fn key_of(segment: &OwnedSegment) -> Key {
    match segment {
        OwnedSegment::Field(name) => Key::of(name.as_bytes()),
        OwnedSegment::Index(_) => Key::of(b""),
    }
}
