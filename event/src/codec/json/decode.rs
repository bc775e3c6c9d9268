//! JSON into a record: the lexer's tokens as nodes, and single values where somebody asks for one.

use super::encode::read_time;
use super::scan::{Flaw, Lexer, Refused, Scalar, Text, unescape};
use crate::limits::OBJECT_FIELDS_LAZY_MAX;
use crate::record::tree::{Key, Kind, NODES_LAZY_MAX, NONE, Name, Node, Tree};
use crate::record::{Below, Wanted};
use bytes::Bytes;
use smallvec::SmallVec;
use vrl::value::{KeyString, ObjectMap, Value};

/// Reads the value that begins at or behind `at` into the node `into`, and gives where it ends.
///
/// Objects become nodes to any depth, arrays stay text; of what is not in `wanted` nothing is made.
/// `into` must be without children. After an error the tree has two empty roots.
pub(crate) fn scan_value(
    text: &[u8],
    at: usize,
    tree: &mut Tree,
    into: u32,
    wanted: Option<&Wanted>,
) -> Result<usize, Flaw> {
    let below = wanted.map_or(Below::All, |_| Below::Object(0));
    let here = Open { node: into, last: NONE, members: 0, names: 0, below };
    let (lexer, around) = (Lexer::new(text, at), SmallVec::new());
    let mut builder = Builder { lexer, tree, wanted, here, around, ordinal: 0 };
    let scanned = builder.document(into);
    let Builder { lexer, tree, .. } = builder;
    tree.add_cells();
    if scanned.is_err() {
        tree.clear();
        return Err(lexer.flaw());
    }
    tree.newline |= lexer.newline;
    Ok(lexer.at)
}

/// An object whose closing brace has not been seen.
struct Open {
    /// [`NONE`] of one that nobody wants.
    node: u32,
    /// Its last child so far.
    last: u32,
    members: usize,
    /// The bits of its names ([`Key::bit`]): a new name whose bit is not set is no repetition.
    names: u64,
    /// Which of its members are wanted.
    below: Below,
}

/// A value as the lexer found it. Of an object only the opening brace was read.
struct Token {
    kind: Kind,
    start: u32,
    end: u32,
}

struct Builder<'a> {
    lexer: Lexer<'a>,
    tree: &'a mut Tree,
    wanted: Option<&'a Wanted>,
    /// The innermost open object, while any is open.
    here: Open,
    /// The open objects around it.
    around: SmallVec<[Open; 8]>,
    /// How many members were begun, at any depth.
    ordinal: usize,
}

impl Builder<'_> {
    fn document(&mut self, into: u32) -> Result<(), Refused> {
        self.lexer.peek();
        let start = self.lexer.at;
        let token = self.token(0)?;
        self.put(into, &token);
        if token.kind == Kind::Object {
            while !self.member()? {}
        }
        self.lexer.check_utf8(start)
    }

    /// Reads a value within `depth` open objects.
    #[inline(always)]
    fn token(&mut self, depth: usize) -> Result<Token, Refused> {
        let first = self.lexer.peek();
        let start = self.lexer.at as u32;
        let kind = match first {
            b'"' => {
                let Text { start, end, escaped } = self.lexer.string()?;
                let kind = if escaped { Kind::Escaped } else { Kind::String };
                return Ok(Token { kind, start, end });
            }
            b'{' if self.tree.nodes.len() < NODES_LAZY_MAX => {
                self.lexer.enter(depth)?;
                self.lexer.at += 1;
                Kind::Object
            }
            b'{' | b'[' => {
                self.lexer.skip_value(depth)?;
                if first == b'{' { Kind::Wide } else { Kind::Array }
            }
            _ => kind_of(self.lexer.scalar(first)?),
        };
        Ok(Token { kind, start, end: self.lexer.at as u32 })
    }

    /// Reads one member of the innermost open object, or closes that. Gives `true` when it was the
    /// last.
    #[inline(always)]
    fn member(&mut self) -> Result<bool, Refused> {
        match self.lexer.peek() {
            b'}' => {
                self.lexer.at += 1;
                return Ok(self.close());
            }
            b',' if self.here.members > 0 => self.lexer.at += 1,
            _ if self.here.members > 0 => {
                return self.lexer.expected("a comma or a closing brace");
            }
            _ => {}
        }
        let name = match self.tree.familiar.pass(self.ordinal, &mut self.lexer) {
            Some(name) => name,
            None => self.strange_name()?,
        };
        self.ordinal += 1;
        let depth = self.around.len() + 1;
        self.here.members += 1;
        if self.here.members > OBJECT_FIELDS_LAZY_MAX && self.here.node != NONE {
            return self.hold_whole(depth);
        }
        let Some(below) = self.wanted(name) else {
            self.pass(depth)?;
            return Ok(false);
        };
        let bit = name.key().bit();
        if self.here.names & bit != 0
            && let Some(child) = self.repeated(name)
        {
            let token = self.token(depth)?;
            self.put(child, &token);
            self.enter(child, &token, below);
            return Ok(false);
        }
        self.here.names |= bit;
        let token = self.token(depth)?;
        let child = self.tree.nodes.len() as u32;
        let (kind, start, end) = (token.kind, token.start, token.end);
        self.tree.nodes.push(Node { kind, start, end, ..Node::new(name, self.here.node) });
        self.tree.link(self.here.node, self.here.last, child);
        self.here.last = child;
        self.enter(child, &token, below);
        Ok(false)
    }

    /// Says what is wanted of a member of the innermost open object; `None` when nothing is.
    #[inline(always)]
    fn wanted(&self, name: Name) -> Option<Below> {
        if self.here.node == NONE {
            return None;
        }
        match (self.here.below, self.wanted) {
            (Below::Object(object), Some(wanted)) => {
                let text = || self.tree.name(self.lexer.whole(), &name);
                wanted.member(object, name, text)
            }
            _ => Some(Below::All),
        }
    }

    /// Passes a value that nobody wants, within `depth` open objects. An object is only entered: so
    /// its names, too, are passed as they are known from the last document.
    #[inline(always)]
    fn pass(&mut self, depth: usize) -> Result<(), Refused> {
        match self.lexer.peek() {
            b'"' => self.lexer.string().map(drop),
            b'{' => {
                self.lexer.enter(depth)?;
                self.lexer.at += 1;
                self.go_into(NONE, Below::All);
                Ok(())
            }
            b'[' => self.lexer.skip_value(depth),
            first => self.lexer.scalar(first).map(drop),
        }
    }

    /// Goes into the value of a member when it is an object.
    #[inline]
    fn enter(&mut self, child: u32, token: &Token, below: Below) {
        if token.kind == Kind::Object {
            self.go_into(child, below);
        }
    }

    #[inline]
    fn go_into(&mut self, node: u32, below: Below) {
        let inner = Open { node, last: NONE, members: 0, names: 0, below };
        self.around.push(std::mem::replace(&mut self.here, inner));
    }

    fn put(&mut self, index: u32, token: &Token) {
        let node = self.tree.node_mut(index);
        node.kind = token.kind;
        node.start = token.start;
        node.end = token.end;
        node.dirty = false;
    }

    /// Goes back to the object around this one; gives `true` when there is none.
    #[inline]
    fn close(&mut self) -> bool {
        if self.here.node != NONE {
            let node = self.tree.node_mut(self.here.node);
            node.end = self.lexer.at as u32;
            node.names = self.here.names;
        }
        match self.around.pop() {
            Some(outer) => {
                self.here = outer;
                false
            }
            None => true,
        }
    }

    /// Reads the name of a member and keeps it: where it stands, or without its escapes beside the
    /// block.
    #[inline]
    fn strange_name(&mut self) -> Result<Name, Refused> {
        let start = self.lexer.at;
        let name = self.lexer.name()?;
        if !name.escaped {
            let (block, end) = (self.lexer.whole(), self.lexer.at);
            let kept = Name::within_block(block, name.start, name.end);
            self.tree.familiar.note(self.ordinal, &block[start..end], kept);
            return Ok(kept);
        }
        let mut plain = Vec::new();
        unescape(self.lexer.text(name), &mut plain);
        Ok(self.tree.intern(Key::of(&plain), &plain))
    }

    /// Gives the node of a member whose name was there before, made empty: the last value of a name
    /// is the one that counts.
    fn repeated(&mut self, name: Name) -> Option<u32> {
        let block = self.lexer.whole();
        let tree = &*self.tree;
        let text = tree.name(block, &name);
        let child = tree.search(block, self.here.node, name.key(), text)?;
        self.tree.node_mut(self.here.node).scattered = true;
        self.tree.forget_places();
        let node = self.tree.node_mut(child);
        *node = Node { next: node.next, ..Node::new(node.name, node.parent) };
        Some(child)
    }

    /// Gives up the nodes of an object that turned out too wide, and passes the rest of its text,
    /// from behind the name of a member on.
    #[cold]
    fn hold_whole(&mut self, depth: usize) -> Result<bool, Refused> {
        let node = self.tree.node_mut(self.here.node);
        let first = std::mem::replace(&mut node.first_child, NONE);
        node.last_child = NONE;
        node.kind = Kind::Wide;
        // Its members and theirs are the last nodes: nothing else was scanned since its first. None
        // has a cell yet.
        self.tree.nodes.truncate(first as usize);
        self.tree.forget_places();
        self.lexer.skip_value(depth)?;
        self.lexer.skip_members(depth)?;
        Ok(self.close())
    }
}

/// Makes the value of JSON text that the lexer accepted: `start..end` of `block`, of a kind other
/// than an object of nodes. Strings without escapes share the block's bytes.
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
        Kind::Time => Value::Timestamp(read_time(text).expect("it was written of a time")),
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
    fn value(&mut self) -> Result<Value, Refused> {
        let first = self.lexer.peek();
        let start = self.lexer.at;
        let kind = match first {
            b'"' => {
                let Text { start, end, escaped } = self.lexer.string()?;
                let kind = if escaped { Kind::Escaped } else { Kind::String };
                return Ok(value_of(self.block, kind, start as usize, end as usize));
            }
            b'[' => return self.array(),
            b'{' => return self.object(),
            _ => kind_of(self.lexer.scalar(first)?),
        };
        Ok(value_of(self.block, kind, start, self.lexer.at))
    }

    fn array(&mut self) -> Result<Value, Refused> {
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

    fn object(&mut self) -> Result<Value, Refused> {
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
