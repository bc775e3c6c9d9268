//! JSON into a record: the lexer's tokens as nodes, and single values where somebody asks for one.

use super::scan::{Flaw, Lexer, Scalar, Text, unescape};
use crate::limits::OBJECT_FIELDS_LAZY_MAX;
use crate::record::tree::{Kind, NODES_LAZY_MAX, NONE, Name, Node, Tree};
use bytes::Bytes;
use smallvec::SmallVec;
use vrl::value::{KeyString, ObjectMap, Value};

/// Reads the value that begins at or behind `at` into the node `into`, and gives where it ends.
///
/// Objects become nodes to any depth, arrays stay text. `into` must be without children.
pub(crate) fn scan_value(
    text: &[u8],
    at: usize,
    tree: &mut Tree,
    into: u32,
) -> Result<usize, Flaw> {
    let mut builder = Builder { lexer: Lexer::new(text, at), tree, open: SmallVec::new() };
    builder.lexer.peek();
    let start = builder.lexer.at;
    builder.value(into)?;
    while !builder.open.is_empty() {
        builder.member()?;
    }
    builder.lexer.check_utf8(start)?;
    let Builder { lexer, tree, .. } = builder;
    tree.newline |= lexer.newline;
    Ok(lexer.at)
}

/// An object whose closing brace has not been seen.
struct Open {
    node: u32,
    members: usize,
    /// A bit for each name, by [`name_bit`]: a new name whose bit is not set is no repetition.
    names: u64,
}

struct Builder<'a> {
    lexer: Lexer<'a>,
    tree: &'a mut Tree,
    open: SmallVec<[Open; 8]>,
}

impl Builder<'_> {
    /// Reads a value into the node `into`; an object is opened only.
    #[inline]
    fn value(&mut self, into: u32) -> Result<(), Flaw> {
        let first = self.lexer.peek();
        let start = self.lexer.at;
        let (kind, start, end) = match first {
            b'"' => {
                let Text { start, end, escaped } = self.lexer.string()?;
                (if escaped { Kind::Escaped } else { Kind::String }, start, end)
            }
            b'{' if self.tree.nodes.len() < NODES_LAZY_MAX => return self.open_object(into),
            b'{' | b'[' => {
                self.lexer.skip_value(self.open.len())?;
                (if first == b'{' { Kind::Wide } else { Kind::Array }, start, self.lexer.at)
            }
            _ => {
                let kind = kind_of(self.lexer.scalar(first)?);
                (kind, start, self.lexer.at)
            }
        };
        let node = self.tree.node_mut(into);
        node.kind = kind;
        node.start = start as u32;
        node.end = end as u32;
        Ok(())
    }

    fn open_object(&mut self, into: u32) -> Result<(), Flaw> {
        self.lexer.enter(self.open.len())?;
        let node = self.tree.node_mut(into);
        node.kind = Kind::Object;
        node.dirty = false;
        node.scattered = false;
        node.start = self.lexer.at as u32;
        self.lexer.at += 1;
        self.open.push(Open { node: into, members: 0, names: 0 });
        Ok(())
    }

    /// Reads one member of the innermost open object, or closes it.
    #[inline]
    fn member(&mut self) -> Result<(), Flaw> {
        let depth = self.open.len();
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        let mut next = self.lexer.peek();
        if next == b',' && open.members > 0 {
            self.lexer.at += 1;
            next = self.lexer.peek();
        } else if next == b'}' {
            self.lexer.at += 1;
            self.tree.node_mut(open.node).end = self.lexer.at as u32;
            self.open.pop();
            return Ok(());
        } else if open.members > 0 {
            return self.lexer.expected("a comma or a closing brace");
        }
        if next != b'"' {
            return self.lexer.expected("the name of a member");
        }
        open.members += 1;
        if open.members > OBJECT_FIELDS_LAZY_MAX {
            let node = open.node;
            return self.hold_whole(node, depth);
        }
        let name = self.lexer.name()?;
        let child = self.child(name);
        self.value(child)
    }

    /// Gives the node for the member `name` of the innermost open object: a new one, or, when the name was there
    /// before, that one made empty, because the last value of a name is the one that counts.
    #[inline]
    fn child(&mut self, name: Text) -> u32 {
        let open = self.open.last_mut().expect("a member is in an object");
        let text = self.lexer.text(name);
        let name = if name.escaped {
            let mut plain = Vec::with_capacity(text.len());
            unescape(text, &mut plain);
            self.tree.intern(&plain)
        } else {
            Name::within_block(name.start, name.end)
        };
        let bytes = self.tree.name(self.lexer.whole(), name);
        let bit = name_bit(bytes);
        if open.names & bit != 0
            && let Some(child) = self.tree.child(self.lexer.whole(), open.node, bytes)
        {
            let node = self.tree.node_mut(child);
            *node = Node { next: node.next, ..Node::new(node.name, node.parent) };
            self.tree.node_mut(open.node).scattered = true;
            return child;
        }
        open.names |= bit;
        let last = self.tree.node(open.node).last_child;
        let child = self.tree.push(Node::new(name, open.node));
        self.tree.link(open.node, last, child);
        child
    }

    /// Gives up the nodes of an object that turned out too wide, and passes the rest of its text. The next byte
    /// begins the name of a member.
    #[cold]
    fn hold_whole(&mut self, node: u32, depth: usize) -> Result<(), Flaw> {
        // Its members and theirs are the last nodes: nothing else was scanned since its first.
        let first = self.tree.node(node).first_child;
        self.tree.truncate(first as usize);
        self.lexer.name()?;
        self.lexer.skip_value(depth)?;
        self.lexer.skip_members(depth)?;
        self.open.pop();
        let node = self.tree.node_mut(node);
        node.kind = Kind::Wide;
        node.first_child = NONE;
        node.last_child = NONE;
        node.end = self.lexer.at as u32;
        Ok(())
    }
}

/// Gives one of 64 bits for a name, by a multiplicative hash of its first bytes and its length.
#[inline]
fn name_bit(name: &[u8]) -> u64 {
    let length = name.len() as u64;
    let word = match name.split_first_chunk::<8>() {
        Some((first, _)) => u64::from_le_bytes(*first),
        None => name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    let last = u64::from(name.last().copied().unwrap_or_default());
    let mixed = (word ^ length << 56 ^ last << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    1 << (mixed >> 58)
}

/// Makes the value of JSON text that the lexer accepted: `start..end` of `block`, of a kind other than an object of
/// nodes. Strings without escapes share the block's bytes.
pub(crate) fn value_of(block: &Bytes, kind: Kind, start: usize, end: usize) -> Value {
    let text = &block[start..end];
    match kind {
        Kind::String | Kind::Text => Value::Bytes(block.slice(start..end)),
        Kind::Escaped => {
            let mut plain = Vec::with_capacity(text.len());
            unescape(text, &mut plain);
            Value::Bytes(Bytes::from(plain))
        }
        Kind::Integer => integer(text),
        Kind::Float => float(text),
        Kind::True => Value::Boolean(true),
        Kind::False => Value::Boolean(false),
        Kind::Null => Value::Null,
        Kind::Array | Kind::Wide | Kind::Object | Kind::Owned => {
            Reader { lexer: Lexer::new(&block[..end], start), block }
                .value()
                .expect("the scan accepted this text")
        }
    }
}

/// Reads a value out of text that was found to be JSON. It calls itself for what is nested: at most
/// [`crate::limits::JSON_DEPTH_MAX`] deep, which the scan has seen to.
struct Reader<'a> {
    lexer: Lexer<'a>,
    block: &'a Bytes,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, Flaw> {
        let first = self.lexer.peek();
        let start = self.lexer.at;
        let kind = match first {
            b'"' => {
                let Text { start, end, escaped } = self.lexer.string()?;
                let kind = if escaped { Kind::Escaped } else { Kind::String };
                return Ok(value_of(self.block, kind, start, end));
            }
            b'[' => return self.array(),
            b'{' => return self.object(),
            _ => kind_of(self.lexer.scalar(first)?),
        };
        Ok(value_of(self.block, kind, start, self.lexer.at))
    }

    fn array(&mut self) -> Result<Value, Flaw> {
        let mut values = Vec::new();
        self.lexer.at += 1;
        while self.lexer.peek() != b']' {
            if !values.is_empty() {
                self.lexer.take(b',', "a comma")?;
            }
            values.push(self.value()?);
        }
        self.lexer.at += 1;
        Ok(Value::Array(values))
    }

    fn object(&mut self) -> Result<Value, Flaw> {
        let mut members = ObjectMap::new();
        self.lexer.at += 1;
        while self.lexer.peek() != b'}' {
            if !members.is_empty() {
                self.lexer.take(b',', "a comma")?;
            }
            let name = self.lexer.name()?;
            let text = self.lexer.text(name);
            let key = if name.escaped {
                let mut plain = Vec::with_capacity(text.len());
                unescape(text, &mut plain);
                key_string(&plain)
            } else {
                key_string(text)
            };
            let value = self.value()?;
            members.insert(key, value);
        }
        self.lexer.at += 1;
        Ok(Value::Object(members))
    }
}

/// Makes a key of the bytes of a name.
pub(crate) fn key_string(name: &[u8]) -> KeyString {
    KeyString::from(std::str::from_utf8(name).expect("names are UTF-8: checked when scanned"))
}

fn kind_of(scalar: Scalar) -> Kind {
    match scalar {
        Scalar::Integer => Kind::Integer,
        Scalar::Float => Kind::Float,
        Scalar::True => Kind::True,
        Scalar::False => Kind::False,
        Scalar::Null => Kind::Null,
    }
}

/// Reads a number without fraction and exponent: an integer where it fits, else a float.
fn integer(text: &[u8]) -> Value {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // Minus zero exists among floats only. Nineteen digits and more may not fit.
    if digits.len() > 18 || (negative && digits == b"0") {
        return match str_of(text).parse::<i64>() {
            Ok(number) if number != 0 => Value::Integer(number),
            _ => float(text),
        };
    }
    let number = digits.iter().fold(0, |number, &digit| number * 10 + i64::from(digit - b'0'));
    Value::Integer(if negative { -number } else { number })
}

/// Reads any number as a float; one beyond the range as the largest there is.
fn float(text: &[u8]) -> Value {
    let number: f64 = str_of(text).parse().expect("the grammar of JSON numbers is within Rust's");
    Value::from_f64_or_zero(number.clamp(f64::MIN, f64::MAX))
}

fn str_of(number: &[u8]) -> &str {
    std::str::from_utf8(number).expect("a number is ASCII")
}
