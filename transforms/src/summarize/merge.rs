//! Results of several windows as one: of all their records, each counted once.

use super::result::Shape;
use crate::window::{Evidence, Fields, merge_parts};
use azud_plan::component::{Merge, Merged};
use std::sync::Arc;

/// Puts parts of windows together.
#[derive(Debug)]
pub struct Merger {
    by: u64,
    gathers: Fields,
    shape: Arc<Shape>,
}

impl Merger {
    /// Makes what puts together what was gathered for results of this shape; `by` tells its parts
    /// from others.
    pub fn new(by: u64, gathers: &Fields, shape: Arc<Shape>) -> Self {
        // Parts come without the records as they came.
        let gathers = Fields { evidence: Evidence::default(), ..gathers.clone() };
        Merger { by, gathers, shape }
    }
}

impl Merge for Merger {
    fn by(&self) -> u64 {
        self.by
    }

    fn merge(&self, parts: &[&[u8]]) -> Option<Merged> {
        let all = merge_parts(&self.gathers, parts).ok()?;
        let fields = self.shape.fields.iter().zip(all.partials.iter());
        Some(Merged {
            event_count: all.count,
            span: (all.count > 0).then_some((all.first, all.last)),
            fields: fields
                .map(|(field, partial)| (field.path.clone(), partial.finish(&field.aggregate)))
                .collect(),
        })
    }
}
