//! When windows are told first: as it is written, or by who waits for what.
//!
//! Where `fire` is not written, a `having` that can only become truer decides: a window is told as
//! soon as it holds. Without a `having` those who read the results decide, each by its condition. A
//! `having` that may become false again makes windows wait for their end, and so do results of
//! windows as input: these are taken back.

use super::check::Taken;
use crate::vrl::growing;
use crate::window::{Early, Grown, Growth, Windows};
use azud_plan::component::{self, Demand, Firing, Options};
use std::sync::Arc;
use vrl::owned_value_path;
use vrl::path::OwnedValuePath;

/// A field of the results that grows while a window is open.
#[derive(Clone, Debug)]
struct Growing {
    path: OwnedValuePath,
    what: Grown,
}

/// Which fields of the results grow while a window is open, and who says when it is told.
#[derive(Clone, Debug)]
pub struct Fire {
    grows: Arc<[Growing]>,
    /// Whether those who read the results say it.
    by_readers: bool,
}

impl Fire {
    /// Decides it, as far as the table alone can; `fields` are those of the result.
    pub fn decide(
        options: &Options<'_>,
        over_results: bool,
        fields: &[Taken],
        windows: &mut Windows,
    ) -> Self {
        let of_field = |(place, taken): (usize, &Taken)| {
            let what = Grown::Field(place, taken.aggregate.clone());
            taken.grows().then(|| Growing { path: taken.path.clone(), what })
        };
        let count = Growing { path: owned_value_path!("event_count"), what: Grown::Records };
        let grows = std::iter::once(count).chain(fields.iter().enumerate().filter_map(of_field));
        let grows: Arc<[Growing]> = grows.filter(|_| !over_results).collect();
        let fire = Fire { grows, by_readers: false };
        let having = options.condition("having");
        if options.has("fire") {
            let early = options.one_of("fire") == Some("early");
            windows.set_early(if early { Early::Always } else { Early::Never });
        } else if let Some(having) = having {
            let demand = growing::demand(&having.text, &fire.paths());
            windows.set_early(
                demand.and_then(|it| fire.growth(&it)).map_or(Early::Never, Early::When),
            );
        } else {
            return Fire { by_readers: true, ..fire };
        }
        fire
    }

    /// Lists the fields that grow.
    pub fn paths(&self) -> Vec<OwnedValuePath> {
        self.grows.iter().map(|growing| growing.path.clone()).collect()
    }

    /// Gives what windows must come to for what is wanted of their results; `None` when that may
    /// become false again.
    fn growth(&self, demand: &Demand) -> Option<Growth> {
        Growth::of(demand, &|path| {
            let growing = self.grows.iter().find(|growing| growing.path == *path)?;
            Some(growing.what.clone())
        })
    }

    /// Gives the same windows for readers that want this; `None` when readers have no say.
    pub fn for_readers(&self, wanted: &Demand, windows: &Windows) -> Option<Windows> {
        let growth = self.growth(wanted).filter(|_| self.by_readers)?;
        let mut windows = windows.clone();
        windows.set_early(Early::When(growth));
        Some(windows)
    }

    /// Says when these windows are told.
    pub fn firing(&self, windows: &Windows) -> Firing {
        let early = match windows.early() {
            Early::Never => component::Early::Never,
            Early::When(_) if self.by_readers => component::Early::OnDemand,
            Early::When(_) | Early::Always => component::Early::Always,
        };
        Firing { early, closes_after: windows.closes_after() }
    }
}
