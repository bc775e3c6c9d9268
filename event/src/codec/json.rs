//! JSON: records out of documents, documents out of records.
//!
//! A document is read once. The scan checks all of its grammar and leaves a node for every field of
//! every object, with the range of its text; it makes no value and copies nothing. Values are made
//! where somebody asks for one, and what nobody changed is written out as it came in.

mod decode;
mod encode;
mod familiar;
mod scan;

pub use encode::{encode_json, encode_string, encode_time, encode_value};

pub(crate) use decode::{key_string, scan_value, value_of};
pub(crate) use encode::{Day, encode_event_time, encode_node, encode_usual_time, quote};
pub(crate) use familiar::Familiar;
pub(crate) use scan::{Flaw, check_document, check_end, short_word, unescape, word_at};

use scan::Lexer;

use crate::block::{Block, Frame};
use crate::codec::Decoder;
use crate::codec::source_fields::SourceFields;
use crate::dead_letter::Fault;
use crate::record::{Record, Wanted};

/// Reads JSON documents, one a frame.
///
/// An object is one record. An array is its elements, each a record by itself. Whatever else stands
/// as a document or as an element becomes the `message` of a record. An array is checked as a whole
/// before its first record is emitted, so that it is decoded or set aside, never both.
#[derive(Clone, Debug)]
pub struct JsonDecoder {
    fields: Option<SourceFields>,
    /// Which fields are looked at, if not all may be.
    wanted: Option<Wanted>,
}

impl JsonDecoder {
    /// Makes a decoder that adds `fields` to each record, where it has none of that name itself.
    pub fn new(fields: Option<SourceFields>) -> Self {
        JsonDecoder { fields, wanted: None }
    }

    /// Reads the elements of the array at `frame`, each into a record of its own.
    fn decode_array(
        &self,
        block: &Block,
        frame: &Frame,
        record: &mut Record,
        emit: &mut dyn FnMut(&mut Record),
    ) -> Result<(), Fault> {
        let text = &block.bytes[..frame.range.end];
        let fault = |flaw: Flaw| flaw.fault(frame.range.start);
        check_document(text, frame.range.start).map_err(fault)?;
        let mut lexer = Lexer::new(text, frame.range.start);
        lexer.peek();
        lexer.at += 1;
        while lexer.peek() != b']' {
            if lexer.peek() == b',' {
                lexer.at += 1;
                lexer.peek();
            }
            let start = lexer.at;
            record.begin(block, frame);
            let element = record.decode_element(start, frame.range.end, self.wanted.as_ref());
            lexer.at = element.map_err(fault)?;
            self.finish(block, frame, record, emit);
        }
        Ok(())
    }

    fn finish(
        &self,
        block: &Block,
        frame: &Frame,
        record: &mut Record,
        emit: &mut dyn FnMut(&mut Record),
    ) {
        if let Some(fields) = &self.fields {
            fields.push_missing(record, block, frame);
        }
        emit(record);
    }
}

impl Decoder for JsonDecoder {
    fn decode(
        &mut self,
        block: &Block,
        frame: &Frame,
        record: &mut Record,
        emit: &mut dyn FnMut(&mut Record),
    ) -> Result<(), Fault> {
        let text = &block.bytes[..frame.range.end];
        match Lexer::new(text, frame.range.start).peek() {
            b'{' => record.decode_wanted(frame.range.clone(), self.wanted.as_ref())?,
            b'[' => return self.decode_array(block, frame, record, emit),
            _ => record.decode_message(frame.range.clone())?,
        }
        self.finish(block, frame, record, emit);
        Ok(())
    }

    fn narrow(&mut self, wanted: Wanted) {
        if let Some(fields) = &mut self.fields {
            fields.narrow(&wanted);
        }
        self.wanted = Some(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::Reason;
    use crate::limits::JSON_DEPTH_MAX;
    use crate::record::model::{block_of, document, path, record_of};
    use chrono::{DateTime, Utc};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use vrl::path::parse_value_path;
    use vrl::value::Value;

    /// A record as it is written, and its raw bytes.
    type Written = (String, Vec<u8>);

    fn decode(text: &[u8]) -> (Vec<Written>, Result<(), Fault>) {
        let (block, frame) = block_of(text);
        let mut record = Record::new();
        record.begin(&block, &frame);
        let mut records = Vec::new();
        let result = JsonDecoder::new(None).decode(&block, &frame, &mut record, &mut |record| {
            let mut out = Vec::new();
            encode_json(record, &mut out);
            records.push((String::from_utf8(out).unwrap(), record.raw().to_vec()));
        });
        (records, result)
    }

    fn refusal(text: &[u8]) -> Fault {
        let (records, result) = decode(text);
        assert_eq!(records, [], "nothing is emitted of a document that is not JSON");
        result.unwrap_err()
    }

    #[test]
    fn an_object_is_one_record() {
        let (records, result) = decode(br#"{"a": {"b": [1, 2.0]}}"#);
        result.unwrap();
        let text = r#"{"a": {"b": [1, 2.0]}}"#;
        assert_eq!(records, [(text.to_owned(), text.as_bytes().to_vec())]);
    }

    #[test]
    fn an_array_is_its_elements_each_with_its_own_raw_bytes_and_place() {
        let (block, frame) = block_of(br#" [ {"a":1} , [2] , "x\n" ,{}]"#);
        let mut record = Record::new();
        record.begin(&block, &frame);
        let mut seen = Vec::new();
        let mut emit = |record: &mut Record| {
            let raw = String::from_utf8(record.raw().to_vec()).unwrap();
            seen.push((record.to_value().to_string(), raw, record.origin().index));
        };
        JsonDecoder::new(None).decode(&block, &frame, &mut record, &mut emit).unwrap();
        let texts: Vec<_> = seen.iter().map(|(value, raw, _)| (&value[..], &raw[..])).collect();
        assert_eq!(
            texts,
            [
                (r#"{ "a": 1 }"#, r#"{"a":1}"#),
                (r#"{ "message": [2] }"#, "[2]"),
                (r#"{ "message": "x\n" }"#, r#""x\n""#),
                ("{  }", "{}"),
            ]
        );
        assert!(seen.is_sorted_by(|(.., one), (.., other)| one < other));
    }

    #[test]
    fn any_other_document_is_a_message() {
        for (text, expected) in [
            ("1e999", r#"{"message":1e999}"#),
            (" \"é\" ", r#"{"message":"é"}"#),
            ("null", r#"{"message":null}"#),
        ] {
            let (records, result) = decode(text.as_bytes());
            result.unwrap();
            assert_eq!(records[0].0, expected);
        }
        assert_eq!(decode(b"[]"), (Vec::new(), Ok(())));
    }

    #[test]
    fn a_fault_says_where_and_what() {
        for (text, message) in [
            (&b""[..], "expected a value at byte 0"),
            (b"{\"a\" 1}", "expected a colon after the name of a member at byte 5"),
            (b"{\"a\":1 \"b\":2}", "expected a comma or a closing brace at byte 7"),
            (b"{\"a\":1,}", "expected the name of a member at byte 7"),
            (b"[{\"a\":1},]", "expected a value at byte 9"),
            (b"[{\"a\":1}, {\"b\":}]", "expected a value at byte 15"),
            (b"{\"a\":\"x\ny\"}", "expected a control character to be escaped at byte 7"),
            (b"{\"a\":\"\\ud800\"}", "expected the second half of a surrogate pair at byte 12"),
            (b"[\"\\ud800\\u0041\"]", "expected the second half of a surrogate pair at byte 8"),
            (b"[\"\\udc00\"]", "expected the first half of a surrogate pair at byte 2"),
            (b"{\"a\":\"long enough \xff\"}", "expected UTF-8 at byte 18"),
            (b"{\"a\":01}", "expected no digit after a leading zero at byte 6"),
            (b"{} {}", "expected the end of the document at byte 3"),
        ] {
            let fault = refusal(text);
            assert_eq!(fault.message, format!("not JSON: {message}"));
            assert_eq!(fault.reason, Reason::Malformed);
        }
    }

    #[test]
    fn nesting_is_bounded_in_objects_and_arrays_alike() {
        let nested = |open: &str, close: &str, depth: usize| {
            [&open.repeat(depth), "1", &close.repeat(depth)].concat()
        };
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]"), ("{\"a\":[", "]}")]
        {
            let levels = if open.len() == 1 || open.len() == 5 { 1 } else { 2 };
            let (records, result) = decode(nested(open, close, JSON_DEPTH_MAX / levels).as_bytes());
            assert_eq!((records.len(), result), (1, Ok(())));
            let fault = refusal(nested(open, close, JSON_DEPTH_MAX / levels + 1).as_bytes());
            assert_eq!(fault.reason, Reason::TooDeep);
            let fault = refusal(open.repeat(100_000).as_bytes());
            assert_eq!(fault.reason, Reason::TooDeep);
        }
    }

    #[test]
    fn a_number_beyond_the_range_is_kept_and_read_as_the_largest() {
        let mut record = record_of(br#"{"a":1e400,"b":-1E+999,"c":[1e400],"d":1}"#);
        let get = |record: &Record, path| record.get(&parse_value_path(path).unwrap()).cloned();
        assert_eq!(get(&record, "a"), Some(Value::from_f64_or_zero(f64::MAX)));
        assert_eq!(get(&record, "b"), Some(Value::from_f64_or_zero(f64::MIN)));
        assert_eq!(get(&record, "c[0]"), Some(Value::from_f64_or_zero(f64::MAX)));
        record.remove(&parse_value_path("d").unwrap(), false);
        let mut out = Vec::new();
        encode_json(&record, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":1e400,"b":-1E+999,"c":[1e400]}"#);
    }

    #[test]
    fn line_breaks_between_tokens_are_not_written() {
        let mut record = record_of(b"{\r\n\"a\": {\n\"x\" : [1,\n2]},\n \"b\":\"\\n\"\n}");
        let mut out = Vec::new();
        encode_json(&record, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a": {"x" : [1,2]}, "b":"\n"}"#);
        record.insert(&parse_value_path("c").unwrap(), Value::Null);
        let mut out = Vec::new();
        encode_json(&record, &mut out);
        let expected = r#"{"a": {"x" : [1,2]}, "b":"\n","c":null}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_was_removed_is_not_written_and_what_stands_around_it_is() {
        let mut record = record_of(br#"{"a": 1, "b": 2, "c": 3, "d": 4}"#);
        record.remove(&parse_value_path("b").unwrap(), false);
        let mut out = Vec::new();
        encode_json(&record, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a": 1,"c": 3, "d": 4}"#);
    }

    #[test]
    fn fields_of_the_source_are_added_to_each_record_that_has_none_of_that_name() {
        let (block, frame) = block_of(br#"[{"a":1},{"timestamp":2},3]"#);
        let mut record = Record::new();
        record.begin(&block, &frame);
        let mut decoder = JsonDecoder::new(Some(SourceFields::new("http_server")));
        let mut seen = Vec::new();
        let mut emit = |record: &mut Record| encode_json(record, &mut seen);
        decoder.decode(&block, &frame, &mut record, &mut emit).unwrap();
        let time = r#""timestamp":"1970-01-01T00:00:00.000000011Z""#;
        let expected = [
            format!(r#"{{"a":1,"source_type":"http_server",{time}}}"#),
            r#"{"timestamp":2,"source_type":"http_server"}"#.to_owned(),
            format!(r#"{{"message":3,"source_type":"http_server",{time}}}"#),
        ];
        assert_eq!(String::from_utf8(seen).unwrap(), expected.concat());
    }

    #[test]
    fn a_repeated_name_has_its_last_value_wherever_it_is_looked_at() {
        let mut record = record_of(br#"{"a":{"x":1},"b":2,"\u0061":{"y":3},"c":4}"#);
        let a = parse_value_path("a").unwrap();
        assert_eq!(record.get(&a).unwrap().to_string(), r#"{ "y": 3 }"#);
        record.insert(&a, Value::Null);
        let mut out = Vec::new();
        encode_json(&record, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":null,"b":2,"c":4}"#);
    }

    #[test]
    fn strings_that_are_not_utf8_are_written_with_replacements() {
        for text in [&b"\xff"[..], b"ab\xe6\xbc\"\xe6\xbc\xa2 1234567 \xf0\x9f", b"12345678\x80\n"]
        {
            let mut out = Vec::new();
            encode_string(text, &mut out);
            let expected = serde_json::to_string(&String::from_utf8_lossy(text)).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn unusual_times_are_written_as_chrono_writes_them() {
        let leap = chrono::NaiveTime::from_hms_nano_opt(23, 59, 59, 1_500_000_000).unwrap();
        let leap = chrono::NaiveDate::from_ymd_opt(2016, 12, 31).unwrap().and_time(leap).and_utc();
        for time in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, leap] {
            let mut out = Vec::new();
            encode_time(&time, &mut out);
            let expected = time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    /// Tells what serde_json says, `None` where we mean to differ.
    fn accepted_by_serde_json(text: &[u8]) -> Option<bool> {
        match serde_json::from_slice::<Value>(text) {
            Ok(_) => Some(true),
            Err(error) => {
                let error = error.to_string();
                let differs = ["number out of range", "recursion limit exceeded"];
                (!differs.iter().any(|words| error.starts_with(words))).then_some(false)
            }
        }
    }

    fn agree(text: &[u8]) -> Result<(), TestCaseError> {
        let (block, frame) = block_of(text);
        let mut record = Record::new();
        record.begin(&block, &frame);
        let ours = record.decode_json(frame.range);
        if let Some(theirs) = accepted_by_serde_json(text) {
            prop_assert_eq!(ours.is_ok(), theirs, "{:?}", ours);
        }
        // It makes no difference: with nodes or without.
        prop_assert_eq!(check_document(text, 0).is_ok(), ours.is_ok());
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

        #[test]
        fn damaged_documents_are_refused_as_serde_json_refuses_them(
            text in document(),
            damages in vec((any::<prop::sample::Index>(), 0..3, any::<u8>()), 1..3),
        ) {
            let mut text = text.into_bytes();
            for (at, kind, byte) in damages {
                let at = at.index(text.len() + 1);
                match kind {
                    0 if at < text.len() => text[at] = byte,
                    1 if at < text.len() => drop(text.remove(at)),
                    _ => text.insert(at, byte),
                }
            }
            agree(&text)?;
        }

        #[test]
        fn what_came_before_does_not_show(
            texts in vec(document(), 1..3),
            damages in vec((any::<prop::sample::Index>(), 0..3, any::<u8>()), 0..3),
        ) {
            // Names of the last document are passed by comparison: the same text comes again,
            // damaged.
            let mut texts: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
            let mut again = texts[0].clone();
            for (at, kind, byte) in damages {
                let at = at.index(again.len() + 1);
                match kind {
                    0 if at < again.len() => again[at] = byte,
                    1 if at < again.len() => drop(again.remove(at)),
                    _ => again.insert(at, byte),
                }
            }
            texts.insert(1, again);
            let mut used = Record::new();
            for text in texts {
                let (block, frame) = block_of(&text);
                let mut fresh = Record::new();
                let outcome = |record: &mut Record| {
                    record.begin(&block, &frame);
                    let read = record.decode_json(frame.range.clone());
                    let mut out = Vec::new();
                    encode_json(record, &mut out);
                    (read, record.to_value(), out)
                };
                prop_assert_eq!(outcome(&mut used), outcome(&mut fresh));
            }
        }

        #[test]
        fn what_nobody_looks_at_is_checked_and_may_be_left_out(
            texts in vec(document(), 1..3),
            paths in vec(path(), 0..4),
            damages in vec((any::<prop::sample::Index>(), 0..3, any::<u8>()), 0..2),
        ) {
            let mut texts: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
            let last = texts.last_mut().unwrap();
            for (at, kind, byte) in damages {
                let at = at.index(last.len() + 1);
                match kind {
                    0 if at < last.len() => last[at] = byte,
                    1 if at < last.len() => drop(last.remove(at)),
                    _ => last.insert(at, byte),
                }
            }
            let paths: Vec<_> = paths.into_iter().map(|path| path.path).collect();
            let fields = || Some(SourceFields::new("test"));
            let mut decoders = [JsonDecoder::new(fields()), JsonDecoder::new(fields())];
            let Some(wanted) = Wanted::of(&paths) else { return Ok(()) };
            decoders[1].narrow(wanted);
            let mut records = [Record::new(), Record::new()];
            for text in texts {
                let (block, frame) = block_of(&text);
                let seen = decoders.iter_mut().zip(&mut records).map(|(decoder, record)| {
                    record.begin(&block, &frame);
                    let mut seen = Vec::new();
                    let decoded = decoder.decode(&block, &frame, record, &mut |record| {
                        let values = paths.iter().map(|path| record.get(path).cloned());
                        seen.push((values.collect::<Vec<_>>(), record.raw().to_vec()));
                    });
                    (seen, decoded)
                });
                let seen: Vec<_> = seen.collect();
                prop_assert_eq!(&seen[0], &seen[1]);
            }
        }

        #[test]
        fn random_tokens_are_judged_as_serde_json_judges_them(
            tokens in vec(proptest::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"", "\\", "\\u00", "\\ud83d", "\\ude00", "é",
                "1", "0", "-", ".", "e", "E+", "true", "nul", "l", " ", "\n", "\u{1}", "\u{80}",
            ]), 0..12),
        ) {
            agree(tokens.concat().as_bytes())?;
        }

        #[test]
        fn any_bytes_are_judged_as_serde_json_judges_them(text in vec(any::<u8>(), 0..24)) {
            agree(&text)?;
            agree(&[b"\"", &text[..], b"\""].concat())?;
        }

        #[test]
        fn the_decoder_takes_whole_documents_or_none(text in document()) {
            let array = format!("[{text},{text} ]");
            let one = decode(text.as_bytes());
            let two = decode(array.as_bytes());
            prop_assert_eq!(two.1, Ok(()));
            prop_assert_eq!(two.0.len(), 2);
            if text.trim_start().starts_with('{') {
                prop_assert_eq!(&two.0[1].0, &one.0[0].0);
            }
        }
    }
}
