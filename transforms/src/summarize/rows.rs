//! The first half of `summarize`, on the worker that has the records: folds each into what is
//! gathered of its key and pane or segment, so that few rows cross to where the keys live.

use super::evidence::evidence_of;
use crate::key::{self, KeyField};
use crate::vrl::Runner;
use crate::window::{Fields, PanesMaker, SessionsMaker};
use azud_event::dead_letter::Fault;
use azud_event::id::Partitioner;
use azud_event::record::Record;
use azud_event::row::Row;
use azud_plan::component::{RowContext, RowMaker, Taken};
use std::sync::Arc;
use vrl::path::OwnedValuePath;

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
        let late_before = context.late_before;
        let (key, gathers) = (self.key.as_slice(), self.gathers.as_ref());
        let gathered = match &mut self.maker {
            Maker::Panes(maker) => maker.gather(key, &place, late_before, gathers),
            Maker::Sessions(maker) => maker.gather(key, &place, late_before, gathers),
        };
        let Some(gathered) = gathered else { return Ok(Taken::Late) };
        gathered.count(place.event_time);
        let fields = self.fields.iter().zip(&self.counts).zip(&mut gathered.partials);
        for ((field, counts), partial) in fields {
            if *counts {
                partial.add(field.field.as_ref().and_then(|path| record.get(path)), &place);
            }
        }
        if gathered.keeps(&place, gathers.evidence) {
            gathered.keep(place, &evidence_of(record), gathers.evidence);
        }
        Ok(Taken::Counted)
    }

    fn drain(&mut self, rows: &mut Vec<Row>) {
        let Some(partitioner) = &self.partitioner else { return };
        match &mut self.maker {
            Maker::Panes(maker) => maker.drain(partitioner, rows),
            Maker::Sessions(maker) => maker.drain(partitioner, rows),
        }
    }
}
