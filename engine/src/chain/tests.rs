//! A chain without a worker around it.

use crate::chain::Chain;
use azud_event::block::{Block, Layout};
use azud_event::codec::Decoder;
use azud_event::codec::source_fields::SourceFields;
use azud_event::codec::syslog::{SyslogDecoder, SyslogOptions, Zone};
use azud_event::dead_letter::Fault;
use azud_event::id::{Partitioner, SourceIndex, StreamId};
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{
    BuildContext, BuildError, Encoder, Kind, Needle, Next, Port, Resource, Running, SinkSpec,
    SinkTask, SourceSpec, SourceTask, Transform, TransformSpec,
};
use azud_plan::plan::{
    Output, Pipeline, Plan, Reader, SinkNode, Source, SourceInput, Stall, Timing, TransformNode,
};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;
use vrl::owned_value_path;

/// A source of syslog, whose message stands in the frame as it is; a frame of spaces is a fault.
struct Text;

impl SourceSpec for Text {
    fn decoder(&self) -> Box<dyn Decoder> {
        let fields = SourceFields::new("test");
        let options = SyslogOptions { zone: Zone::UTC, fields, source_ip: false };
        Box::new(SyslogDecoder::new(options))
    }
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }
    fn build(&self, _: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        Err(BuildError { message: "never run".into(), help: None })
    }
}

/// Lets through what holds a text; says so beforehand, or not.
struct Holds {
    text: &'static str,
    needle: Option<Needle>,
}

impl TransformSpec for Holds {
    fn outputs(&self, _: &Port) -> Vec<Port> {
        vec![Port::logs()]
    }
    fn build(&self) -> Running {
        Running::Stateless(Box::new(Holds { text: self.text, needle: None }))
    }
    fn needle(&self) -> Option<&Needle> {
        self.needle.as_ref()
    }
}

impl Transform for Holds {
    fn apply(&mut self, record: &mut Record, next: &mut dyn Next) -> Result<(), Fault> {
        let message = record.get_bytes(&owned_value_path!("message"));
        let message = message.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if message.is_some_and(|message| message.contains(self.text)) {
            next.emit(0, record, true);
        } else {
            next.discard();
        }
        Ok(())
    }
}

struct Messages;

impl SinkSpec for Messages {
    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(Messages)
    }
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }
    fn build(&self, _: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        Err(BuildError { message: "never run".into(), help: None })
    }
}

impl Encoder for Messages {
    fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.extend_from_slice(record.raw());
        out.push(b'\n');
        Ok(())
    }
}

/// Runs a block through source, filter and sink; gives what the sink gets, and the dead letters.
fn run(block: &Block, needle: bool) -> Vec<usize> {
    const TEXT: &str = "ab";
    let needle = needle.then(|| Needle { field: "message".into(), text: TEXT.into() });
    let reads = |reader| vec![Output { port: Port::logs(), readers: vec![reader] }];
    let plan = Plan {
        sources: vec![Source {
            id: "in".into(),
            kind: "test",
            spec: Arc::new(Text),
            timing: Timing::default(),
            written: "".into(),
        }],
        pipelines: vec![Pipeline {
            name: "test".into(),
            sources: vec![SourceInput {
                source: SourceIndex(0),
                outputs: reads(Reader::Transform(0)),
            }],
            transforms: vec![TransformNode {
                id: "holds".into(),
                kind: "test",
                spec: Arc::new(Holds { text: TEXT, needle }),
                outputs: reads(Reader::Sink(0)),
                written: "".into(),
            }],
            sinks: vec![SinkNode {
                id: "out".into(),
                kind: "test",
                spec: Arc::new(Messages),
                input: Kind::Log,
                stall: Stall::default(),
            }],
        }],
    };
    let partitioner = Partitioner::new([0; 16]);
    let mut chain = Chain::behind_sources(&plan, &plan.pipelines[0], partitioner, |_| true);
    chain.block(block, &mut Record::new());
    let mut out = Vec::new();
    chain.flush(true, |encoded| {
        out.push(encoded.sink);
        out.extend(encoded.bytes.into_iter().map(usize::from));
    });
    out
}

proptest! {
    #[test]
    fn a_needle_does_not_show(
        lines in vec("[ab \r\u{0}é]{0,6}", 0..40),
        syslog in any::<bool>(),
    ) {
        let bytes = Bytes::from(lines.join("\n"));
        let block = Block {
            source: SourceIndex(0),
            stream: StreamId(0),
            position: 0,
            end: bytes.len() as u64,
            received_at: EventTime::EPOCH,
            bytes,
            layout: if syslog { Layout::Syslog } else { Layout::Lines },
            peers: Arc::new([]),
        };
        prop_assert_eq!(run(&block, true), run(&block, false));
    }
}
