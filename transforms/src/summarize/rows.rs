//! The first half of `summarize`, on the worker that has the records: folds each into what is
//! gathered of its key and pane or segment, so that few rows cross to where the keys live.

use crate::evidence::evidence_of;
use crate::key::{self, KeyField};
use crate::revised::revision_of;
use crate::vrl::Runner;
use crate::window::{Fields, MembersMaker, PanesMaker, SessionsMaker};
use azud_event::dead_letter::Fault;
use azud_event::id::Partitioner;
use azud_event::record::Record;
use azud_event::row::Row;
use azud_event::time::EventTime;
use azud_plan::component::{RowContext, RowMaker, Taken};
use std::sync::Arc;
use vrl::owned_value_path;
use vrl::path::OwnedValuePath;
use vrl::value::Value;

/// What a field of the result takes of a record.
pub struct RowField {
    /// What must hold of the record.
    pub condition: Option<Runner>,
    /// The field to look at.
    pub field: Option<OwnedValuePath>,
}

/// Folds records into panes or segments.
pub enum Maker {
    /// Into panes.
    Panes(PanesMaker),
    /// Into segments.
    Sessions(SessionsMaker),
    /// Not at all: each is a revision of a result, which takes the place of an earlier one.
    Members(MembersMaker),
}

/// Makes rows of records.
pub struct Rows {
    group_by: Vec<KeyField>,
    fields: Vec<RowField>,
    gathers: Arc<Fields>,
    maker: Maker,
    /// Known with the first record.
    partitioner: Option<Partitioner>,
    key: Vec<u8>,
    /// By field, whether the record at hand counts.
    counts: Vec<bool>,
}

impl Rows {
    /// Makes it, with nothing taken in.
    pub fn new(
        group_by: Vec<KeyField>,
        fields: Vec<RowField>,
        gathers: Arc<Fields>,
        maker: Maker,
    ) -> Self {
        let (key, counts) = (Vec::new(), Vec::new());
        Rows { group_by, fields, gathers, maker, partitioner: None, key, counts }
    }

    /// Says when what a record tells of happened: of a result, when its first and its last did.
    fn span(&self, record: &Record) -> (EventTime, EventTime) {
        let happened = record.event_time();
        if !matches!(self.maker, Maker::Members(_)) {
            return (happened, happened);
        }
        let time = |path: &OwnedValuePath| match record.get(path) {
            Some(Value::Timestamp(time)) => EventTime::from_chrono(*time),
            _ => happened,
        };
        (time(&owned_value_path!("first_event_at")), time(&owned_value_path!("last_event_at")))
    }
}

impl RowMaker for Rows {
    fn take(&mut self, record: &Record, context: &RowContext) -> Result<Taken, Fault> {
        self.partitioner = Some(context.partitioner);
        // All conditions before anything is counted: a record that is set aside counts nowhere.
        self.counts.clear();
        for field in &mut self.fields {
            let counts = field.condition.as_mut().map(|condition| condition.holds(record));
            self.counts.push(counts.unwrap_or(Ok(true))?);
        }
        self.key.clear();
        key::encode(&self.group_by, record, &mut self.key);
        let place = record.place();
        let (first, last) = self.span(record);
        let late_before = context.late_before;
        let (key, gathers) = (self.key.as_slice(), self.gathers.as_ref());
        let gathered = match &mut self.maker {
            Maker::Panes(maker) => maker.gather(key, &place, context, gathers),
            Maker::Sessions(maker) => maker.gather(key, &place, late_before, gathers),
            Maker::Members(maker) => {
                let revision = revision_of(record)?;
                maker.gather(key, &place, revision, late_before, gathers)
            }
        };
        let Some(gathered) = gathered else { return Ok(Taken::Late) };
        gathered.count(first, last);
        let fields = self.fields.iter().zip(&self.counts).zip(gathered.partials.iter_mut());
        for ((field, counts), partial) in fields {
            if *counts {
                partial.add(field.field.as_ref().and_then(|path| record.get(path)), &place);
            }
        }
        if gathered.keeps(&place, gathers.evidence) {
            let evidence = serde_json::to_vec(&evidence_of(record))
                .expect("texts, times and truths have a form in JSON");
            gathered.keep(place, &evidence, gathers.evidence);
        }
        Ok(Taken::Counted)
    }

    fn drain(&mut self, rows: &mut Vec<Row>) {
        let Some(partitioner) = &self.partitioner else { return };
        match &mut self.maker {
            Maker::Panes(maker) => maker.drain(partitioner, rows),
            Maker::Sessions(maker) => maker.drain(partitioner, rows),
            Maker::Members(maker) => maker.drain(partitioner, rows),
        }
    }
}
