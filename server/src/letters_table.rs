//! Keeps the table of dead letters as the files say, for those who look at the database.
//!
//! The files are the truth: rows are set to what is in them, again and again. So nothing is counted
//! twice, a database that is away holds nobody up, and what it missed it gets when it is back.

use azud_engine::dead_letter::{self, Census, Discarded, Group, Letters, Listing};
use azud_engine::inspect::InspectError;
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_store::{DeadLetters, LettersEnd, Store, StoreError};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How far the table may be behind the files.
const INTERVAL: Duration = Duration::from_secs(5);

/// How many rows share a transaction: others write between two of them.
const ROWS_PER_TRANSACTION: usize = 500;

/// The table of one instance.
pub struct LettersTable {
    store: Arc<Store>,
    data_dir: PathBuf,
    incarnation: [u8; 16],
    clock: Clock,
    census: Option<Census>,
    /// What the table has, by id, with what it says if that is of this run; `None` until it was
    /// asked.
    written: Option<HashMap<String, Option<Group>>>,
}

/// Why the table could not be brought up to date.
#[derive(Debug, thiserror::Error)]
enum Behind {
    #[error(transparent)]
    Files(#[from] InspectError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the thread that reads died")]
    Died,
}

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    held: Vec<Letters>,
    gone: Vec<LettersEnd>,
}

impl LettersTable {
    /// Makes one for the letters of a data folder.
    pub fn new(store: Arc<Store>, data_dir: &Path, incarnation: [u8; 16], clock: Clock) -> Self {
        let census = Some(Census::of(data_dir, incarnation));
        let data_dir = data_dir.to_owned();
        LettersTable { store, data_dir, incarnation, clock, census, written: None }
    }

    /// Brings it up to date every few seconds, for ever.
    pub async fn run(mut self) {
        let mut timer = interval(INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_behind = false;
        loop {
            timer.tick().await;
            match self.update().await {
                Ok(()) => was_behind = false,
                Err(error) if !was_behind => {
                    was_behind = true;
                    tracing::warn!("the table of dead letters is behind the files: {error}");
                }
                Err(_) => {}
            }
        }
    }

    async fn update(&mut self) -> Result<(), Behind> {
        let (listing, audit) = self.look().await?;
        let written = match &mut self.written {
            Some(written) => written,
            unknown => {
                let held = self.store.held_dead_letters(self.incarnation).await?;
                unknown.insert(held.into_iter().map(|id| (id, None)).collect())
            }
        };
        let now = self.clock.now();
        let Changes { held, gone } = changes(listing, &audit, written, now);
        for letters in held.chunks(ROWS_PER_TRANSACTION) {
            let rows: Vec<_> = letters.iter().filter_map(|it| row(it, self.incarnation)).collect();
            self.store.keep_dead_letters(&rows, &[]).await?;
            let known = letters.iter().map(|it| (it.id.to_string(), Some(it.group.clone())));
            written.extend(known);
        }
        for ends in gone.chunks(ROWS_PER_TRANSACTION) {
            self.store.keep_dead_letters(&[], ends).await?;
            ends.iter().for_each(|end| _ = written.remove(&end.id));
        }
        Ok(())
    }

    /// Reads the files, where reading may take its time.
    async fn look(&mut self) -> Result<(Listing, Vec<Discarded>), Behind> {
        let mut census = match self.census.take() {
            Some(census) => census,
            None => Census::of(&self.data_dir, self.incarnation),
        };
        let data_dir = self.data_dir.clone();
        let looking = tokio::task::spawn_blocking(move || {
            // The audit last: what went before it was read is in it.
            let listing = census.take();
            let audit = dead_letter::audit(&data_dir);
            (census, listing, audit)
        });
        let (census, listing, audit) = looking.await.map_err(|_| Behind::Died)?;
        self.census = Some(census);
        Ok((listing?, audit?))
    }
}

/// Holds what there is against what the table has.
fn changes(
    listing: Listing,
    audit: &[Discarded],
    written: &HashMap<String, Option<Group>>,
    now: EventTime,
) -> Changes {
    let mut gone: BTreeSet<&String> = written.keys().collect();
    let mut held = Vec::new();
    for letters in listing.groups {
        let id = letters.id.to_string();
        gone.remove(&id);
        if written.get(&id).is_none_or(|known| known.as_ref() != Some(&letters.group)) {
            held.push(letters);
        }
    }
    let end = |id: &String| {
        let discarded = audit.iter().rfind(|one| one.id == *id);
        LettersEnd {
            id: id.clone(),
            at: discarded.and_then(|one| EventTime::from_rfc3339(&one.at)).unwrap_or(now),
            discarded_by: discarded.map(|one| one.by.clone()),
        }
    };
    let gone = gone.into_iter().map(end).collect();
    Changes { held, gone }
}

/// Makes the row of a group; `None` when it went meanwhile, or its times are none.
fn row(letters: &Letters, incarnation: [u8; 16]) -> Option<DeadLetters> {
    let group = &letters.group;
    let sample = letters.sample().ok()??;
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    Some(DeadLetters {
        id: letters.id.to_string(),
        pipeline: letters.pipeline.clone(),
        component_id: group.key.component.clone(),
        stage: group.stage.clone(),
        reason: group.key.reason.clone(),
        message: group.message.clone(),
        source_id: group.key.source.clone(),
        peer: group.peer.clone(),
        records: group.letters,
        bytes: group.bytes,
        sample: dead_letter::record_of(&sample)?,
        segment_from: name(&letters.from)?,
        segment_to: name(&letters.to)?,
        minute: EventTime::from_rfc3339(&group.key.minute)?,
        first_received_at: EventTime::from_rfc3339(&group.first_received_at)?,
        last_received_at: EventTime::from_rfc3339(&group.last_received_at)?,
        incarnation,
        epoch: group.epoch,
        response_code: group.response_code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_engine::dead_letter::GroupKey;
    use azud_event::id::Id;

    fn letters(component: &str, count: u64) -> Letters {
        let key = GroupKey {
            component: component.to_owned(),
            source: "in".to_owned(),
            reason: "malformed".to_owned(),
            minute: "2026-03-01T10:00:00.000000Z".to_owned(),
        };
        let group = Group {
            key,
            stage: "decode".to_owned(),
            letters: count,
            bytes: 1,
            first_received_at: "2026-03-01T10:00:00.000000Z".to_owned(),
            last_received_at: "2026-03-01T10:00:00.000000Z".to_owned(),
            message: String::new(),
            peer: None,
            response_code: None,
            epoch: None,
            at: 0,
        };
        let id = Id::of(&[component.as_bytes()]);
        let (from, to) = (PathBuf::new(), PathBuf::new());
        Letters { id, pipeline: "auth".to_owned(), group, from, to }
    }

    #[test]
    fn only_what_changed_is_written_and_what_is_gone_is_ended() {
        let now = EventTime::EPOCH;
        let known = |letters: &Letters| (letters.id.to_string(), Some(letters.group.clone()));
        let written: HashMap<_, _> =
            ["same", "more", "discarded", "lost"].map(|name| known(&letters(name, 1))).into();
        let there = vec![letters("same", 1), letters("more", 2), letters("new", 1)];
        let gone = letters("discarded", 1);
        let audit = Discarded {
            at: "1970-01-01T00:00:09.000000Z".to_owned(),
            by: "ann".to_owned(),
            because: "no need".to_owned(),
            id: gone.id.to_string(),
            pipeline: "auth".to_owned(),
            group: gone.group.key,
            letters: 1,
            bytes: 1,
        };
        let listing = Listing { groups: there, ..Listing::default() };
        let found = changes(listing, &[audit], &written, now);
        assert_eq!(found.held, [letters("more", 2), letters("new", 1)]);
        let by: Vec<_> = found.gone.iter().map(|end| end.discarded_by.as_deref()).collect();
        assert!(by.contains(&Some("ann")) && by.contains(&None) && by.len() == 2, "{by:?}");
        // What an earlier run wrote is written again: nobody knows whether it is as it should be.
        let earlier = [(letters("same", 1).id.to_string(), None)].into();
        let listing = Listing { groups: vec![letters("same", 1)], ..Listing::default() };
        assert_eq!(changes(listing, &[], &earlier, now).held.len(), 1);
    }
}
