//! Rust as tokens: functions, test code and paths, without comments and strings in the way.

use super::tree::{File, rust_files};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// A Rust file, read.
pub struct Source {
    /// The file.
    pub file: File,
    /// The whole of it is test code.
    pub is_test: bool,
    /// The lines of `#[cfg(test)]` items and `#[test]` functions.
    pub tests: Vec<RangeInclusive<usize>>,
    /// Every function: its name and lines.
    pub functions: Vec<(String, RangeInclusive<usize>)>,
    /// Every word with the words and signs around it, in the order of the text.
    pub leaves: Vec<Leaf>,
    /// The lines of raw strings, and of others over several lines.
    pub texts: Vec<RangeInclusive<usize>>,
    /// The modules declared here for tests only.
    test_modules: Vec<String>,
}

/// The smallest token: a word, a sign, a literal, or one side of a bracket.
pub struct Leaf {
    /// Its text.
    pub text: String,
    /// Its line, counted from 1.
    pub line: usize,
}

impl Source {
    /// Whether a line is test code.
    pub fn tests_at(&self, line: usize) -> bool {
        self.is_test || self.tests.iter().any(|lines| lines.contains(&line))
    }

    /// Lists the lines at which these tokens stand one behind the other.
    pub fn find(&self, wanted: &[&str]) -> Vec<usize> {
        let fits =
            |leaves: &&[Leaf]| leaves.iter().zip(wanted).all(|(leaf, want)| leaf.text == *want);
        self.leaves.windows(wanted.len()).filter(fits).map(|leaves| leaves[0].line).collect()
    }
}

/// Reads every Rust file.
pub fn sources() -> Vec<Source> {
    let mut sources: Vec<Source> = rust_files().into_iter().map(read).collect();
    let test_files: BTreeSet<String> = sources.iter().flat_map(test_files).collect();
    for source in &mut sources {
        source.is_test = is_test_by_place(&source.file.name)
            || test_files.iter().any(|module| {
                let behind = source.file.name.strip_prefix(module.as_str());
                behind.is_some_and(|behind| behind == ".rs" || behind.starts_with('/'))
            });
    }
    sources
}

/// Whether a file is none of the program because of where it is: a test, or a measurement.
fn is_test_by_place(name: &str) -> bool {
    let folders = ["tests/", "benches/"];
    folders.iter().any(|folder| name.starts_with(folder) || name.contains(&format!("/{folder}")))
}

/// Lists the modules that a file declares for tests only, as paths without `.rs`.
fn test_files(source: &Source) -> Vec<String> {
    let name = source.file.name.as_str();
    let (folder, _) = name.rsplit_once('/').unwrap_or(("", name));
    let stem = source.file.stem();
    let below = match stem {
        "lib" | "main" | "mod" => folder.to_owned(),
        _ => format!("{folder}/{stem}"),
    };
    let place = |module: &String| match module.strip_prefix("./") {
        Some(file) => format!("{folder}/{file}"),
        None => format!("{below}/{module}"),
    };
    source.test_modules.iter().map(place).collect()
}

fn read(file: File) -> Source {
    let stream: TokenStream = match file.text.parse() {
        Ok(stream) => stream,
        Err(error) => panic!("{}: not Rust: {error}", file.name),
    };
    let mut source = Source {
        file,
        is_test: false,
        tests: Vec::new(),
        functions: Vec::new(),
        leaves: Vec::new(),
        texts: Vec::new(),
        test_modules: Vec::new(),
    };
    source.read_level(&stream.into_iter().collect::<Vec<_>>());
    source
}

impl Source {
    /// Reads the tokens between two brackets, and everything within.
    fn read_level(&mut self, tokens: &[TokenTree]) {
        for (at, token) in tokens.iter().enumerate() {
            let line = token.span().start().line;
            match token {
                TokenTree::Group(group) => self.read_group(group),
                TokenTree::Ident(word) => {
                    if word == "fn" {
                        self.read_function(&tokens[at..]);
                    }
                    self.leaves.push(Leaf { text: word.to_string(), line });
                }
                TokenTree::Punct(sign) => {
                    if sign.as_char() == '#' {
                        self.read_attribute(&tokens[at..]);
                    }
                    self.leaves.push(Leaf { text: sign.as_char().to_string(), line });
                }
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let end = token.span().end().line;
                    if end > line || ["r\"", "r#", "br"].iter().any(|raw| text.starts_with(raw)) {
                        self.texts.push(line..=end);
                    }
                    self.leaves.push(Leaf { text, line });
                }
            }
        }
    }

    fn read_group(&mut self, group: &Group) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        let leaf = |text: &str, line| Leaf { text: text.to_owned(), line };
        self.leaves.push(leaf(open, group.span_open().start().line));
        self.read_level(&group.stream().into_iter().collect::<Vec<_>>());
        self.leaves.push(leaf(close, group.span_close().end().line));
    }

    /// Notes the function that begins with `tokens`; the type `fn(…)` is none.
    fn read_function(&mut self, tokens: &[TokenTree]) {
        let Some(TokenTree::Ident(name)) = tokens.get(1) else { return };
        if let Some(body) = body(tokens) {
            let lines = tokens[0].span().start().line..=body.span_close().end().line;
            self.functions.push((name.to_string(), lines));
        }
    }

    /// Notes what `#[cfg(test)]`, `#[test]` and the like stand before.
    fn read_attribute(&mut self, tokens: &[TokenTree]) {
        let Some(TokenTree::Group(attribute)) = tokens.get(1) else { return };
        let text = attribute.stream().to_string().replace(' ', "");
        if text != "test" && !text.ends_with("::test") && !text.starts_with("cfg(test)") {
            return;
        }
        let start = tokens[0].span().start().line;
        if let Some(body) = body(&tokens[2..]) {
            self.tests.push(start..=body.span_close().end().line);
        } else if let Some(module) = declared_module(&tokens[2..]) {
            self.test_modules.push(module);
        }
    }
}

/// Gives the braces of the item that begins with `tokens`; none when it ends with a semicolon.
fn body(tokens: &[TokenTree]) -> Option<&Group> {
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return Some(group),
            TokenTree::Punct(sign) if sign.as_char() == ';' => return None,
            _ => {}
        }
    }
    None
}

/// Gives the name of `mod name;` when the item is one; `./file` when an attribute names its file.
fn declared_module(tokens: &[TokenTree]) -> Option<String> {
    let words = tokens.iter().map_while(|token| match token {
        TokenTree::Punct(sign) if sign.as_char() == ';' => None,
        token => Some(token.to_string()),
    });
    let words: Vec<String> = words.collect();
    let path =
        words.iter().find_map(|word| word.strip_prefix("[path = \"")?.strip_suffix(".rs\"]"));
    let name = words.iter().skip_while(|word| *word != "mod").nth(1)?;
    Some(path.map_or_else(|| name.clone(), |path| format!("./{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        read(File { name: "room/src/thing.rs".to_owned(), text: text.to_owned() })
    }

    const TEXT: &str = "
fn long(call: fn(u8) -> u8) -> &'static str {
    // .unwrap() in a comment
    \"value.unwrap()\"
}

#[cfg(test)]
mod model;

#[cfg(test)]
#[path = \"thing_tests.rs\"]
mod more_tests;

#[cfg(test)]
mod tests {
    #[test]
    fn it_holds() {
        value.unwrap();
    }
}
";

    #[test]
    fn functions_have_lines() {
        let found = source(TEXT).functions;
        assert_eq!(found, [("long".to_owned(), 2..=5), ("it_holds".to_owned(), 17..=19)]);
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        let source = source(TEXT);
        assert_eq!(source.find(&[".", "unwrap", "(", ")"]), [18]);
        assert!(source.tests_at(18) && !source.tests_at(4));
    }

    #[test]
    fn a_module_for_tests_is_a_test_file() {
        let found = test_files(&source(TEXT));
        assert_eq!(found, ["room/src/thing/model", "room/src/thing_tests"]);
    }
}
