//! Records out of the body of an answer: each a line, as it will stand in a block.

use super::zip;
use crate::limits::{ANSWER_ARRAYS_MAX, ANSWER_GROWTH_MAX, ANSWER_PACKED_MAX, ANSWER_RECORDS_MAX};
use azud_client::header::CONTENT_TYPE;
use azud_client::{Answer, Failure, gunzip};
use azud_plan::component::Cause;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::HashMap;
use vrl::path::{OwnedSegment, OwnedValuePath};

/// What bodies are and where records are in them.
#[derive(Clone, Debug)]
pub(super) struct Extract {
    pub(super) content: Content,
    /// Where the records are in JSON and XML; without it they are the elements of an array, or the
    /// document is one.
    pub(super) records: Option<OwnedValuePath>,
    /// Whether an object without that place has no records.
    pub(super) optional: bool,
    /// Members of what is around the records that each of them is given.
    pub(super) keep: Vec<String>,
    /// What stands between the values of a line of CSV.
    pub(super) delimiter: u8,
    /// The names of the columns; without them the first line has them.
    pub(super) columns: Vec<String>,
    /// How large a body may be when it is inflated.
    pub(super) bytes_max: usize,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// As its type says.
    Auto,
    Csv,
    Json,
    Ndjson,
    Text,
    Xml,
}

/// The records of a page.
#[derive(Debug, Default)]
pub(super) struct Extracted {
    pub(super) lines: Vec<Vec<u8>>,
    /// The body, where it is JSON and somebody wants it.
    pub(super) body: Option<Value>,
    /// How large the lines are together, in bytes.
    bytes: usize,
}

impl Extracted {
    /// Takes a record, within what those of an answer may be together.
    fn take(&mut self, line: Vec<u8>, bytes_max: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(line.len());
        let most = bytes_max.saturating_mul(ANSWER_GROWTH_MAX);
        if self.bytes > most {
            return Err(too_much(&format!("is as records larger than the limit of {most} bytes")));
        }
        if self.lines.len() >= ANSWER_RECORDS_MAX {
            return Err(too_much(&format!("has more than {ANSWER_RECORDS_MAX} records")));
        }
        self.lines.push(line);
        Ok(())
    }
}

/// What is left to be unpacked of an answer.
#[derive(Clone, Copy)]
struct Packed {
    /// How many times over.
    times: usize,
    /// How many bytes.
    bytes: usize,
}

impl Extract {
    /// Finds the records of an answer.
    ///
    /// # Errors
    /// When the body is not what it should be.
    pub(super) fn records(&self, answer: &Answer, reads: bool) -> Result<Extracted, Failure> {
        let kind = answer.header(CONTENT_TYPE.as_str()).unwrap_or_default().to_ascii_lowercase();
        if kind.contains("html") && self.content != Content::Text {
            return Err(wrong("is a page of HTML, and no data"));
        }
        let mut out = Extracted::default();
        let mut packed = Packed { times: ANSWER_PACKED_MAX, bytes: self.bytes_max };
        self.document(&answer.body, &kind, reads, &mut packed, &mut out)?;
        Ok(out)
    }

    fn document(
        &self,
        body: &[u8],
        kind: &str,
        reads: bool,
        packed: &mut Packed,
        out: &mut Extracted,
    ) -> Result<(), Failure> {
        if body.starts_with(&[0x1f, 0x8b]) || body.starts_with(b"PK\x03\x04") {
            return self.unpack(body, kind, reads, packed, out);
        }
        let text = String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
        let content = match self.content {
            Content::Auto => of_type(kind),
            content => content,
        };
        match content {
            Content::Json | Content::Auto => self.json(&text, reads, out),
            Content::Ndjson | Content::Text => {
                let mut lines = text.lines().filter(|line| !line.trim().is_empty());
                lines.try_for_each(|line| out.take(line.as_bytes().to_vec(), self.bytes_max))
            }
            Content::Csv => self.csv(&text, out),
            Content::Xml => {
                let options =
                    roxmltree::ParsingOptions { nodes_limit: 2_000_000, ..Default::default() };
                let document = roxmltree::Document::parse_with_options(&text, options);
                let document = document.map_err(|error| wrong(&format!("is no XML: {error}")))?;
                let root = document.root_element();
                let name = root.tag_name().name().to_owned();
                let value = Value::Object(Map::from_iter([(name, xml(root, 0)?)]));
                self.json(&value.to_string(), reads, out)
            }
        }
    }

    /// Unpacks gzip or ZIP, within what is left to all that an answer holds.
    fn unpack(
        &self,
        body: &[u8],
        kind: &str,
        reads: bool,
        packed: &mut Packed,
        out: &mut Extracted,
    ) -> Result<(), Failure> {
        let Some(times) = packed.times.checked_sub(1) else {
            return Err(too_much(&format!("is packed more than {ANSWER_PACKED_MAX} times")));
        };
        let in_all = |failure: Failure| match failure.cause {
            Cause::Bound if packed.bytes < self.bytes_max => {
                let most = self.bytes_max;
                too_much(&format!("is unpacked larger than the limit of {most} bytes"))
            }
            _ => failure,
        };
        let (files, reads) = match body.starts_with(b"PK") {
            true => (zip::files(body, packed.bytes).map_err(in_all)?, false),
            false => {
                let bytes = gunzip(body, packed.bytes).map_err(in_all)?;
                (vec![zip::File::of_type(kind, bytes)], reads)
            }
        };
        let unpacked: usize = files.iter().map(|file| file.bytes.len()).sum();
        let mut within = Packed { times, bytes: packed.bytes.saturating_sub(unpacked) };
        for file in files {
            self.document(&file.bytes, &file.kind, reads, &mut within, out)?;
        }
        packed.bytes = within.bytes;
        Ok(())
    }

    /// Takes the documents of a text, of which most have one.
    fn json(&self, text: &str, reads: bool, out: &mut Extracted) -> Result<(), Failure> {
        let documents = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        for (index, document) in documents.enumerate() {
            let document = document.map_err(|error| wrong(&format!("is no JSON: {error}")))?;
            if index == 0 && reads {
                out.body = serde_json::from_str(document.get()).ok();
            }
            let path = self.records.as_ref().map_or(&[][..], |path| &path.segments);
            let mut around = Vec::new();
            let found = self.gather(document, path, 0, &mut around, out)?;
            let may_lack = self.optional && document.get().starts_with('{');
            if !found && index == 0 && !may_lack {
                let place = self.records.as_ref().map(ToString::to_string).unwrap_or_default();
                return Err(wrong(&format!("has no records at `{place}`")));
            }
        }
        Ok(())
    }

    /// Gathers the records below a value; `false` when the place is not there. An array on the way
    /// is gone through.
    fn gather<'a>(
        &self,
        value: &'a RawValue,
        path: &[OwnedSegment],
        arrays: usize,
        around: &mut Vec<HashMap<String, &'a RawValue>>,
        out: &mut Extracted,
    ) -> Result<bool, Failure> {
        let first = value.get().as_bytes().first();
        match (path.split_first(), first) {
            (_, Some(b'n')) => Ok(true),
            (Some((OwnedSegment::Index(index), rest)), Some(b'[')) => {
                let items: Vec<&RawValue> = parse(value)?;
                let item = usize::try_from(*index).ok().and_then(|index| items.get(index));
                item.map_or(Ok(false), |item| self.gather(item, rest, arrays, around, out))
            }
            (Some(_), Some(b'[')) if arrays >= ANSWER_ARRAYS_MAX => {
                Err(too_much(&format!("has arrays more than {ANSWER_ARRAYS_MAX} deep")))
            }
            (_, Some(b'[')) => {
                let items: Vec<&RawValue> = parse(value)?;
                for item in items {
                    match path.is_empty() {
                        true => out.take(self.line(item, around)?, self.bytes_max)?,
                        // What has no such place has no records.
                        false => {
                            self.gather(item, path, arrays + 1, around, out)?;
                        }
                    }
                }
                Ok(true)
            }
            (Some((OwnedSegment::Field(name), rest)), Some(b'{')) => {
                let members: HashMap<String, &RawValue> = parse(value)?;
                let Some(inner) = members.get(name.as_str()).copied() else { return Ok(false) };
                around.push(members);
                let found = self.gather(inner, rest, arrays, around, out);
                around.pop();
                found
            }
            (Some(_), _) => Ok(false),
            (None, _) => {
                out.take(self.line(value, around)?, self.bytes_max)?;
                Ok(true)
            }
        }
    }

    /// Writes a record in one line, with what it is given of what is around it.
    fn line(
        &self,
        record: &RawValue,
        around: &[HashMap<String, &RawValue>],
    ) -> Result<Vec<u8>, Failure> {
        // In JSON a line feed stands only between tokens.
        let mut line: Vec<u8> = record
            .get()
            .bytes()
            .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte })
            .collect();
        if self.keep.is_empty() || line.first() != Some(&b'{') {
            return Ok(line);
        }
        let own: HashMap<String, &RawValue> = parse(record)?;
        for name in self.keep.iter().filter(|name| !own.contains_key(*name)) {
            if let Some(value) = around.iter().rev().find_map(|members| members.get(name)) {
                add(&mut line, name, value.get());
            }
        }
        Ok(line)
    }

    fn csv(&self, text: &str, out: &mut Extracted) -> Result<(), Failure> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .comment(Some(b'#'))
            .has_headers(self.columns.is_empty())
            .flexible(true)
            .from_reader(text.as_bytes());
        let wrong_csv = |error: csv::Error| wrong(&format!("is no CSV: {error}"));
        let columns: Vec<String> = match self.columns.is_empty() {
            true => reader.headers().map_err(wrong_csv)?.iter().map(str::to_owned).collect(),
            false => self.columns.clone(),
        };
        for row in reader.records() {
            let row = row.map_err(wrong_csv)?;
            let mut record = Map::new();
            for (column, value) in columns.iter().zip(row.iter()) {
                record.insert(column.trim().to_owned(), value.into());
            }
            out.take(Value::Object(record).to_string().into_bytes(), self.bytes_max)?;
        }
        Ok(())
    }
}

/// Adds a member to a record.
pub(super) fn add(line: &mut Vec<u8>, name: &str, value: &str) {
    let Some(end) = line.iter().rposition(|byte| *byte == b'}') else { return };
    line.truncate(end);
    if line.trim_ascii_end() != b"{" {
        line.push(b',');
    }
    line.extend_from_slice(Value::from(name).to_string().as_bytes());
    line.push(b':');
    line.extend(value.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    line.push(b'}');
}

fn parse<'a, T: serde::Deserialize<'a>>(value: &'a RawValue) -> Result<T, Failure> {
    serde_json::from_str(value.get()).map_err(|error| wrong(&format!("is no JSON: {error}")))
}

fn too_much(what: &str) -> Failure {
    let message = format!("the answer {what}; ask for less at once");
    Failure::new(Cause::Bound, message)
}

fn wrong(what: &str) -> Failure {
    Failure::new(Cause::Response, format!("the answer {what}"))
}

fn of_type(kind: &str) -> Content {
    let is = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    if is(&["ndjson", "jsonl", "json-lines", "stream+json"]) {
        Content::Ndjson
    } else if is(&["csv"]) {
        Content::Csv
    } else if is(&["xml"]) {
        Content::Xml
    } else {
        Content::Json
    }
}

/// How deep elements may be within each other.
const XML_DEPTH_MAX: usize = 100;

/// Makes JSON of an element as VRL's `parse_xml` does: attributes have an `@`, elements of one name
/// are an array, and one with nothing but text is that text.
fn xml(element: roxmltree::Node<'_, '_>, depth: usize) -> Result<Value, Failure> {
    if depth > XML_DEPTH_MAX {
        return Err(wrong(&format!("has elements more than {XML_DEPTH_MAX} deep")));
    }
    let mut members = Map::new();
    for attribute in element.attributes() {
        members.insert(format!("@{}", attribute.name()), attribute.value().into());
    }
    let mut text = String::new();
    for child in element.children() {
        if let Some(part) = child.text().filter(|_| child.is_text()) {
            text.push_str(part);
        }
        if !child.is_element() {
            continue;
        }
        let value = xml(child, depth + 1)?;
        match members.get_mut(child.tag_name().name()) {
            Some(Value::Array(items)) => items.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
            None => {
                members.insert(child.tag_name().name().to_owned(), value);
            }
        }
    }
    let text = text.trim();
    if members.is_empty() {
        return Ok(text.into());
    }
    if !text.is_empty() {
        members.insert("text".to_owned(), text.into());
    }
    Ok(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::super::tests::packing::{gzip, zip};
    use super::*;
    use azud_client::header::{HeaderMap, HeaderValue};
    use azud_client::{StatusCode, Url};
    use azud_event::time::EventTime;
    use azud_plan::component::parse_field;
    use proptest::prelude::*;
    use std::time::Duration;

    pub(super) fn extract(records: Option<&str>, keep: &[&str]) -> Extract {
        Extract {
            content: Content::Auto,
            records: records.map(|path| parse_field(path).unwrap()),
            optional: false,
            keep: keep.iter().map(ToString::to_string).collect(),
            delimiter: b',',
            columns: Vec::new(),
            bytes_max: 1 << 20,
        }
    }

    fn of(extract: &Extract, kind: &str, body: &[u8]) -> Result<Vec<String>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
        let url = Url::parse("https://api.example/").unwrap();
        let (status, body) = (StatusCode::OK, body.to_vec().into());
        let (took, at) = (Duration::ZERO, EventTime::EPOCH);
        let answer = Answer { status, headers, body, url, took, at };
        let lines = extract.records(&answer, true).map_err(|failure| failure.message)?.lines;
        Ok(lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect())
    }

    const JSON: &str = "application/json";

    #[test]
    fn an_array_is_its_elements_as_they_stand() {
        let plain = extract(None, &[]);
        let body = b"[\n {\"b\": 1.0,\r\n \"a\":123456789012345678901234567890} , 7, \"x\\n\"]";
        let expected = ["{\"b\": 1.0,   \"a\":123456789012345678901234567890}", "7", "\"x\\n\""];
        assert_eq!(of(&plain, JSON, body).unwrap(), expected);
        assert_eq!(of(&plain, JSON, b"{\"a\":[1]}").unwrap(), ["{\"a\":[1]}"]);
        assert_eq!(of(&plain, JSON, b"{\"a\":1}\n{\"a\":2}").unwrap().len(), 2);
        assert_eq!(of(&plain, JSON, b"[]").unwrap(), [""; 0]);
        assert_eq!(of(&plain, JSON, b"").unwrap(), [""; 0]);
        assert_eq!(of(&plain, JSON, b"null").unwrap(), [""; 0]);
    }

    #[test]
    fn records_have_a_place_and_are_given_what_is_around_them() {
        let items =
            [r#"{"id":1,"events":[{"n":1},{}]}"#, r#"{"id":2,"events":[{"id":9}]}"#, r#"{"id":3}"#];
        let body = format!(r#"{{"tenant":"t","items":[{}]}}"#, items.join(","));
        let body = body.as_bytes();
        let nested = extract(Some(".items.events"), &["id", "tenant"]);
        let expected = [
            r#"{"n":1,"id":1,"tenant":"t"}"#,
            r#"{"id":1,"tenant":"t"}"#,
            r#"{"id":9,"tenant":"t"}"#,
        ];
        let lines = of(&nested, JSON, body).unwrap();
        let as_values = |lines: &[String]| -> Vec<Value> {
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(as_values(&lines), as_values(&expected));
        assert_eq!(of(&extract(Some(".items[1].id"), &[]), JSON, body).unwrap(), ["2"]);
        let absent = of(&extract(Some(".data"), &[]), JSON, body).unwrap_err();
        assert_eq!(absent, "the answer has no records at `data`");
        assert_eq!(of(&extract(Some(".data"), &[]), JSON, br#"{"data":null}"#).unwrap(), [""; 0]);
    }

    #[test]
    fn other_formats_become_json() {
        let plain = extract(None, &[]);
        let csv = b"# feed\nip,malware\n1.2.3.4,\"a, b\"\n";
        let expected = [r#"{"ip":"1.2.3.4","malware":"a, b"}"#];
        assert_eq!(of(&plain, "text/csv; charset=utf-8", csv).unwrap(), expected);
        let ndjson = of(&plain, "application/x-ndjson", b"{\"a\":1}\n\n{broken\n").unwrap();
        assert_eq!(
            ndjson,
            [r#"{"a":1}"#, "{broken"],
            "a bad line is a dead letter, not a bad page"
        );
        let xml = b"<feed v='1'><entry id='1'>x</entry><entry id='2'><a/></entry></feed>";
        let entries = of(&extract(Some(".feed.entry"), &["@v"]), "application/xml", xml).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0], r#"{"@id":"1","text":"x","@v":"1"}"#);
    }

    #[test]
    fn an_answer_may_lack_the_place_where_that_is_said() {
        let strict = extract(Some(".items"), &[]);
        let optional = Extract { optional: true, ..strict.clone() };
        let nothing = br#"{"kind":"none"}"#;
        let error = of(&strict, JSON, nothing).unwrap_err();
        assert_eq!(error, "the answer has no records at `items`");
        assert_eq!(of(&optional, JSON, nothing).unwrap(), Vec::<String>::new());
        assert_eq!(of(&optional, JSON, br#"{"items":[1]}"#).unwrap(), ["1"]);
        assert!(of(&optional, JSON, b"\"busy\"").is_err(), "that is no answer of this API");
    }

    #[test]
    fn what_is_no_data_is_told() {
        let plain = extract(None, &[]);
        let html = of(&plain, "text/html; charset=utf-8", b"<html>log in</html>").unwrap_err();
        assert_eq!(html, "the answer is a page of HTML, and no data");
        assert!(of(&plain, JSON, b"[{\"a\":1},").unwrap_err().contains("is no JSON"));
        assert!(of(&plain, JSON, b"<html>").is_err());
        assert!(of(&plain, "text/xml", b"<a><b></a>").is_err());
        let deep = "[".repeat(100_000);
        assert!(of(&plain, JSON, deep.as_bytes()).is_err());
    }

    /// Packs a text so many times.
    fn packed(text: &[u8], times: usize) -> Vec<u8> {
        (0..times).fold(text.to_vec(), |bytes, _| gzip(&bytes))
    }

    #[test]
    fn what_is_packed_again_and_again_is_refused() {
        let plain = extract(None, &[]);
        assert_eq!(of(&plain, JSON, &packed(b"[1,2]", 2)).unwrap(), ["1", "2"]);
        let error = of(&plain, JSON, &packed(b"[1,2]", 50)).unwrap_err();
        assert!(error.contains("is packed more than 3 times"), "{error}");
    }

    #[test]
    fn what_is_unpacked_is_bounded_in_all() {
        // Each file is within the bound, and all together are not.
        let text = format!("[\"{}\"]", "x".repeat(100_000));
        let files: Vec<(String, Vec<u8>)> =
            (0..20).map(|n| (format!("{n}.json.gz"), packed(text.as_bytes(), 1))).collect();
        let archive = zip(&files);
        let plain = Extract { bytes_max: 3 << 20, ..extract(None, &[]) };
        assert!(archive.len() < plain.bytes_max);
        let error = of(&plain, "application/zip", &archive).unwrap_err();
        assert!(error.contains("3145728"), "{error}");
        let enough = Extract { bytes_max: 5 << 20, ..plain };
        assert_eq!(of(&enough, "application/zip", &archive).unwrap().len(), 20);
    }

    #[test]
    fn what_each_record_is_given_is_bounded_in_all() {
        let plain = Extract { bytes_max: 1 << 16, ..extract(Some(".items"), &["tenant"]) };
        let tenant = "t".repeat(20_000);
        let body = format!("{{\"tenant\":\"{tenant}\",\"items\":[{}{{}}]}}", "{},".repeat(9_000));
        let error = of(&plain, JSON, body.as_bytes()).unwrap_err();
        assert!(error.contains("as records larger than the limit"), "{error}");
        let csv = format!("{tenant}\n{}", "1\n".repeat(9_000));
        let error = of(&plain, "text/csv", csv.as_bytes()).unwrap_err();
        assert!(error.contains("as records larger than the limit"), "{error}");
    }

    #[test]
    fn records_are_counted() {
        let plain = Extract { bytes_max: 1 << 24, ..extract(None, &[]) };
        let many = "1\n".repeat(ANSWER_RECORDS_MAX);
        assert_eq!(of(&plain, "x/ndjson", many.as_bytes()).unwrap().len(), ANSWER_RECORDS_MAX);
        let more = format!("{many}1\n");
        for (kind, body) in
            [("x/ndjson", more), (JSON, format!("[{}1]", "1,".repeat(ANSWER_RECORDS_MAX)))]
        {
            let error = of(&plain, kind, body.as_bytes()).unwrap_err();
            assert!(error.contains("has more than 1000000 records"), "{kind}: {error}");
        }
    }

    #[test]
    fn arrays_within_arrays_are_gone_through_so_deep() {
        let nested = |depth: usize| "[".repeat(depth) + "{\"a\":1}" + &"]".repeat(depth);
        let place = extract(Some(".a"), &[]);
        assert_eq!(of(&place, JSON, nested(50).as_bytes()).unwrap(), ["1"]);
        let error = of(&place, JSON, nested(20_000).as_bytes()).unwrap_err();
        assert!(error.contains("has arrays more than 100 deep"), "{error}");
        let deep = format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000));
        assert!(of(&place, "text/xml", deep.as_bytes()).is_err());
    }

    proptest! {
        /// Each element of an array comes out as one line that means the same.
        #[test]
        fn elements_mean_the_same(
            items in proptest::collection::vec("[a-z\\n\\t\"\\\\é]{0,8}", 0..6),
            pretty in any::<bool>(),
        ) {
            let items: Vec<Value> =
                items.iter().map(|text| serde_json::json!({"t": text, "l": [text]})).collect();
            let body = match pretty {
                true => serde_json::to_string_pretty(&items).unwrap(),
                false => serde_json::to_string(&items).unwrap(),
            };
            let lines = of(&extract(None, &[]), JSON, body.as_bytes()).unwrap();
            prop_assert!(lines.iter().all(|line| !line.contains(['\n', '\r'])));
            let read: Vec<Value> =
                lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            prop_assert_eq!(read, items);
        }

        #[test]
        fn any_body_can_be_read(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            kind in prop_oneof!["application/json", "text/csv", "text/xml", "x/ndjson"],
        ) {
            let _ = of(&extract(Some(".a.b"), &["c"]), &kind, &body);
        }
    }
}
