//! A record over JSON means what VRL's `Value` means: what is accepted, read, written, removed and
//! undone.
#![no_main]

use arbitrary::Arbitrary;
use azud_event::block::{Block, Frame, Layout};
use azud_event::codec::json::encode_json;
use azud_event::id::{SourceIndex, StreamId};
use azud_event::record::Record;
use azud_event::time::EventTime;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use vrl::path::{OwnedSegment, OwnedValuePath};
use vrl::value::Value;

#[derive(Arbitrary, Debug)]
struct Input {
    text: String,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Insert(Vec<Segment>, Leaf),
    Remove(Vec<Segment>, bool),
}

#[derive(Arbitrary, Debug)]
enum Segment {
    A,
    B,
    Text(String),
    Index(i8),
}

#[derive(Arbitrary, Debug)]
enum Leaf {
    Integer(i64),
    Text(String),
    Null,
    Object(String, i64),
    Array(Vec<bool>),
}

impl Leaf {
    fn value(&self) -> Value {
        match self {
            Leaf::Integer(number) => Value::from(*number),
            Leaf::Text(text) => Value::from(text.as_str()),
            Leaf::Null => Value::Null,
            Leaf::Object(key, number) => {
                Value::Object([(key.as_str().into(), Value::from(*number))].into())
            }
            Leaf::Array(items) => {
                Value::Array(items.iter().map(|item| Value::from(*item)).collect())
            }
        }
    }
}

fn path(segments: &[Segment]) -> OwnedValuePath {
    // Deeper than this no program writes, and the readers of JSON stop at 127.
    let segments = segments.iter().take(8).map(|segment| match segment {
        Segment::A => OwnedSegment::field("a"),
        Segment::B => OwnedSegment::field("b"),
        Segment::Text(text) => OwnedSegment::field(text),
        Segment::Index(index) => OwnedSegment::Index(isize::from(*index)),
    });
    OwnedValuePath { segments: segments.collect() }
}

fn parse(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text).ok()
}

fuzz_target!(|input: Input| {
    let block = Block {
        source: SourceIndex(0),
        stream: StreamId(0),
        position: 0,
        end: 0,
        received_at: EventTime::EPOCH,
        bytes: Bytes::from(input.text.clone().into_bytes()),
        layout: Layout::Lines,
        peers: Arc::new([]),
    };
    let mut record = Record::new();
    record.set_journaling(true);
    let frame = Frame { range: 0..block.bytes.len(), peer: 0, received_delta_us: 0 };
    record.begin(&block, &frame);
    let accepted = record.decode_json(0..block.bytes.len());
    let expected = parse(&block.bytes);
    let Some(mut model) = expected else {
        // The one thing that we read and serde_json does not: a number beyond f64.
        if let Err(error) = serde_json::from_slice::<serde_json::Value>(&block.bytes) {
            assert!(accepted.is_err() || error.to_string().contains("out of range"), "{error}");
        }
        return;
    };
    accepted.expect("what serde_json accepts we accept");
    assert_eq!(record.to_value(), model);
    let mark = record.mark();
    let before = model.clone();
    for step in &input.steps {
        match step {
            Step::Insert(segments, leaf) => {
                // An index far out would only fill memory.
                record.insert(&path(segments), leaf.value());
                model.insert(&path(segments), leaf.value());
            }
            Step::Remove(segments, compact) => {
                let removed = record.remove(&path(segments), *compact);
                assert_eq!(removed, model.remove(&path(segments), *compact));
            }
        }
        assert_eq!(record.to_value(), model);
    }
    let mut out = Vec::new();
    encode_json(&record, &mut out);
    let again = parse(&out).expect("what we write is JSON");
    let expected = serde_json::to_vec(&model).ok().and_then(|text| parse(&text));
    assert_eq!(Some(again), expected);
    record.undo_to(mark);
    assert_eq!(record.to_value(), before);
});
