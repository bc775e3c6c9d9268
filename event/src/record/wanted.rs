//! Which fields of records anybody looks at. Of the others a decoder checks the text, and makes
//! nothing.

use super::tree::{Key, Name};
use vrl::path::{OwnedSegment, OwnedValuePath};

/// The fields of records that are looked at, where not all of them may be.
///
/// A record that is decoded with it has these fields as ever, and whatever lies below them; whether
/// it has any other is not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The objects of which only some members are wanted; the first is the event.
    objects: Vec<Object>,
}

/// What is wanted of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Object {
    /// The bits of their names ([`Key::bit`]): most that is not wanted has another.
    names: u64,
    members: Vec<Member>,
}

/// A wanted member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    key: Key,
    name: Box<str>,
    below: Below,
}

/// What is wanted of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    /// All of it.
    All,
    /// If it is an object, the members of this object of a [`Wanted`].
    Object(u32),
}

impl Wanted {
    /// Makes it of the paths that are followed, within the event. `None` when one leads to all.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a OwnedValuePath>) -> Option<Self> {
        let mut wanted = Wanted { objects: vec![Object::default()] };
        paths.into_iter().all(|path| wanted.add(path)).then_some(wanted)
    }

    fn add(&mut self, path: &OwnedValuePath) -> bool {
        // Of an array all is kept as it stands.
        let names = path.segments.iter().map_while(|segment| match segment {
            OwnedSegment::Field(name) => Some(name.as_str()),
            OwnedSegment::Index(_) => None,
        });
        let mut names = names.peekable();
        let mut object = 0;
        while let Some(name) = names.next() {
            let last = names.peek().is_none();
            let key = Key::of(name.as_bytes());
            let next = self.objects.len();
            let Object { names, members } = &mut self.objects[object];
            *names |= key.bit();
            let member = match members.iter_mut().find(|member| *member.name == *name) {
                Some(member) => member,
                None => {
                    let below = if last { Below::All } else { Below::Object(next as u32) };
                    members.push(Member { key, name: name.into(), below });
                    if !last {
                        self.objects.push(Object::default());
                    }
                    object = next;
                    continue;
                }
            };
            if last {
                member.below = Below::All;
            }
            match member.below {
                Below::All => return true,
                Below::Object(inner) => object = inner as usize,
            }
        }
        !path.segments.first().is_none_or(|first| matches!(first, OwnedSegment::Index(_)))
    }

    /// Whether anything of the event's member `name` is wanted.
    pub fn has(&self, name: &str) -> bool {
        self.objects[0].members.iter().any(|member| *member.name == *name)
    }

    /// Gives what is wanted of a member of an object; `None` when nothing is. `text` gives its
    /// name.
    #[inline]
    pub(crate) fn member<'t>(
        &self,
        object: u32,
        name: Name,
        text: impl Fn() -> &'t [u8],
    ) -> Option<Below> {
        let Object { names, members } = &self.objects[object as usize];
        let (key, length) = (name.key(), name.len());
        if names & key.bit() == 0 {
            return None;
        }
        let same = |member: &&Member| {
            member.key == key
                && member.name.len() == length
                && (length <= 8 || member.name.as_bytes() == text())
        };
        members.iter().find(same).map(|member| member.below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vrl::path::parse_value_path;

    fn wanted(paths: &[&str]) -> Option<Wanted> {
        let paths: Vec<_> = paths.iter().map(|path| parse_value_path(path).unwrap()).collect();
        Wanted::of(&paths)
    }

    /// Says what is wanted at a path of names.
    fn at(wanted: &Wanted, path: &str) -> Option<Below> {
        let mut below = Below::Object(0);
        for name in path.split('.') {
            let Below::Object(object) = below else { return Some(below) };
            let (block, end) = (name.as_bytes(), name.len() as u32);
            below = wanted.member(object, Name::within_block(block, 0, end), || block)?;
        }
        Some(below)
    }

    #[test]
    fn what_lies_on_a_path_is_wanted_and_all_below_its_end() {
        let wanted = wanted(&["a.b", "a.a_longer_name.c", "d[1].e", "f.g", "f", "f.h"]).unwrap();
        for (path, expected) in [
            ("a.b", Some(Below::All)),
            ("a.b.x", Some(Below::All)),
            ("a.x", None),
            ("a.a_longer_name.c", Some(Below::All)),
            ("a.a_longer_nama.c", None),
            ("d", Some(Below::All)),
            ("f.x", Some(Below::All)),
            ("x", None),
        ] {
            assert_eq!(at(&wanted, path), expected, "{path}");
        }
        assert!(wanted.has("d") && !wanted.has("b"));
    }

    #[test]
    fn who_looks_at_the_whole_wants_all() {
        assert_eq!(wanted(&["a", "."]), None);
        assert_eq!(wanted(&["[0].a"]), None);
        assert!(!wanted(&[]).unwrap().has("a"));
    }
}
