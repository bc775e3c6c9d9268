//! The ends of a chain on one worker: the open buffers of sinks, and the rows for keyed transforms.

use super::Readers;
use crate::telemetry::ComponentMeter;
use azud_event::dead_letter::Fault;
use azud_event::record::{Building, Record, TextWriter};
use azud_event::row::Row;
use azud_plan::component::{Encoder, RowMaker, TransformSpec};
use std::collections::HashMap;
use std::sync::Arc;

/// The first half of a keyed transform.
pub struct KeyedEnd {
    pub id: Arc<str>,
    pub maker: Box<dyn RowMaker>,
    pub rows: Vec<Row>,
    /// The port of what is too late, and who reads it.
    pub late: Option<(usize, Readers)>,
    pub meter: ComponentMeter,
    pub spec: Arc<dyn TransformSpec>,
}

/// The open buffers of one sink.
pub struct SinkEnd {
    pub id: Arc<str>,
    encoder: Box<dyn Encoder>,
    /// Where records are written as JSON text alone.
    texts: Option<TextWriter>,
    pub buffers: Vec<Buffer>,
    by_partition: HashMap<Arc<str>, usize>,
    last: usize,
    partition: String,
    pub meter: ComponentMeter,
}

/// A buffer that fills.
pub struct Buffer {
    pub partition: Arc<str>,
    pub bytes: Vec<u8>,
    pub records: usize,
    /// How many bytes were taken last.
    last: usize,
}

impl Buffer {
    fn new(partition: Arc<str>) -> Self {
        Buffer { partition, bytes: Vec::new(), records: 0, last: 0 }
    }

    /// Gives what it holds, with little room beside it, and remembers how much that was.
    pub fn take(&mut self) -> (Vec<u8>, usize) {
        self.last = self.bytes.len();
        if self.bytes.capacity() / 2 > self.last {
            self.bytes.shrink_to_fit();
        }
        (std::mem::take(&mut self.bytes), std::mem::take(&mut self.records))
    }

    /// Gives where to write. An empty buffer gets room for as much as the last one held, and some
    /// more: growing would copy what is there over and over.
    fn open(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(self.last + self.last / 8);
        }
        &mut self.bytes
    }
}

impl SinkEnd {
    /// Begins without a buffer.
    pub fn new(id: &str, encoder: Box<dyn Encoder>, meter: ComponentMeter) -> Self {
        SinkEnd {
            id: id.into(),
            texts: encoder.is_json_lines().then(TextWriter::default),
            encoder,
            buffers: Vec::new(),
            by_partition: HashMap::new(),
            last: 0,
            partition: String::new(),
            meter,
        }
    }

    /// Encodes a record into the buffer of its partition.
    pub fn encode(&mut self, record: &Record) -> Result<(), Fault> {
        self.partition.clear();
        self.encoder.partition(record, &mut self.partition)?;
        let index = self.open();
        let buffer = &mut self.buffers[index];
        let before = buffer.bytes.len();
        if let Err(fault) = self.encoder.encode(record, buffer.open()) {
            buffer.bytes.truncate(before);
            return Err(fault);
        }
        buffer.records += 1;
        Ok(())
    }

    /// Writes what `build` builds as the encoder would, without making a record of it. Whether that
    /// can be done, and was.
    pub fn write(&mut self, build: impl FnOnce(&mut Building<'_>)) -> bool {
        let Some(mut texts) = self.texts.take() else { return false };
        self.partition.clear();
        let index = self.open();
        let buffer = &mut self.buffers[index];
        let out = buffer.open();
        let written = texts.append(out, build);
        if written {
            out.push(b'\n');
            buffer.records += 1;
        }
        self.texts = Some(texts);
        written
    }

    /// Appends what `write` writes to the buffer without a partition.
    pub fn append(&mut self, records: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.partition.clear();
        let index = self.open();
        write(self.buffers[index].open());
        self.buffers[index].records += records;
    }

    /// Gives the buffer of the partition named in `self.partition`, opening one if need be.
    fn open(&mut self) -> usize {
        let same = |buffer: &Buffer| *buffer.partition == *self.partition;
        if self.buffers.get(self.last).is_some_and(same) {
            return self.last;
        }
        let known = self.by_partition.get(self.partition.as_str()).copied();
        self.last = known.unwrap_or_else(|| {
            let partition: Arc<str> = self.partition.as_str().into();
            self.by_partition.insert(Arc::clone(&partition), self.buffers.len());
            self.buffers.push(Buffer::new(partition));
            self.buffers.len() - 1
        });
        self.last
    }

    /// Notes where the buffers stand.
    pub fn mark(&self, marks: &mut Vec<(usize, usize)>) {
        marks.clear();
        marks.extend(self.buffers.iter().map(|buffer| (buffer.bytes.len(), buffer.records)));
    }

    /// Goes back to where the buffers stood.
    pub fn cut_back(&mut self, marks: &[(usize, usize)]) {
        for (index, buffer) in self.buffers.iter_mut().enumerate() {
            let (bytes, records) = marks.get(index).copied().unwrap_or((0, 0));
            buffer.bytes.truncate(bytes);
            buffer.records = records;
        }
    }

    /// Closes all buffers, which are empty.
    pub fn close(&mut self) {
        self.buffers.clear();
        self.by_partition.clear();
    }
}
