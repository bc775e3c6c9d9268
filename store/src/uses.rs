//! What is told of the use of credentials, until it is written: of each the last word.
//!
//! A poller says with every request that its credentials were taken, and nobody waits for that to
//! be written. So it is written every few seconds with what else is told, and that nothing has
//! changed at most once a minute.

use crate::connectors::bounded;
use azud_event::time::EventTime;
use azud_plan::component::SecretUse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often is written that a credential is still taken.
const TAKEN_EVERY: Duration = Duration::from_secs(60);

/// What is to be written of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CredentialNote {
    pub name: String,
    /// When it was used.
    pub at: EventTime,
    /// Whether it was taken, or the words with which it was refused.
    pub taken: Option<Result<(), String>>,
    /// Whether a token was had for it.
    pub refreshed: bool,
}

/// What is known of each credential that documents name.
#[derive(Default)]
pub(crate) struct Uses(Mutex<BTreeMap<String, Known>>);

#[derive(Default)]
struct Known {
    /// When it was last said that it is taken, unless it was refused since.
    taken_at: Option<EventTime>,
    pending: Option<CredentialNote>,
}

impl Uses {
    /// Takes in what came of a use.
    pub fn note(&self, name: &str, how: SecretUse<'_>, at: EventTime) {
        let mut all = self.lock();
        let known = all.entry(name.to_owned()).or_default();
        let fresh = || CredentialNote { name: name.to_owned(), at, taken: None, refreshed: false };
        match how {
            SecretUse::Taken => {
                let told = known.taken_at.is_some_and(|told| at.since(told) < TAKEN_EVERY);
                if told {
                    return;
                }
                known.taken_at = Some(at);
                known.pending.get_or_insert_with(fresh).taken = Some(Ok(()));
            }
            SecretUse::Refused(why) => {
                known.taken_at = None;
                known.pending.get_or_insert_with(fresh).taken = Some(Err(bounded(why)));
            }
            SecretUse::Refreshed => known.pending.get_or_insert_with(fresh).refreshed = true,
        }
        if let Some(pending) = &mut known.pending {
            pending.at = at;
        }
    }

    /// Takes what there is to write.
    pub fn take(&self) -> Vec<CredentialNote> {
        self.lock().values_mut().filter_map(|known| known.pending.take()).collect()
    }

    /// Puts back what could not be written, under what has come since.
    pub fn put_back(&self, notes: Vec<CredentialNote>) {
        let mut all = self.lock();
        for note in notes {
            let known = all.entry(note.name.clone()).or_default();
            match &mut known.pending {
                Some(newer) => {
                    newer.taken = newer.taken.take().or(note.taken);
                    newer.refreshed |= note.refreshed;
                }
                None => known.pending = Some(note),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        // Nothing that panics is done under the lock, and it is held across no await.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> EventTime {
        EventTime::EPOCH.saturating_add(Duration::from_secs(seconds))
    }

    fn note(taken: Result<(), &str>, seconds: u64) -> CredentialNote {
        let taken = Some(taken.map_err(str::to_owned));
        CredentialNote { name: "okta".to_owned(), at: at(seconds), taken, refreshed: false }
    }

    #[test]
    fn the_last_word_counts_and_what_is_as_it_was_is_said_once_a_minute() {
        let uses = Uses::default();
        uses.note("okta", SecretUse::Taken, at(0));
        uses.note("okta", SecretUse::Taken, at(1));
        assert_eq!(uses.take(), [note(Ok(()), 0)]);
        uses.note("okta", SecretUse::Taken, at(59));
        assert_eq!(uses.take(), []);
        uses.note("okta", SecretUse::Taken, at(60));
        uses.note("okta", SecretUse::Refused("401"), at(61));
        assert_eq!(uses.take(), [note(Err("401"), 61)]);
        uses.note("okta", SecretUse::Refused("401"), at(62));
        uses.note("okta", SecretUse::Taken, at(63));
        assert_eq!(uses.take(), [note(Ok(()), 63)]);
    }

    #[test]
    fn what_could_not_be_written_is_kept_under_what_is_newer() {
        let uses = Uses::default();
        uses.note("okta", SecretUse::Refused("401"), at(1));
        let taken = uses.take();
        uses.note("okta", SecretUse::Refreshed, at(2));
        uses.put_back(taken);
        let both = CredentialNote { refreshed: true, ..note(Err("401"), 2) };
        assert_eq!(uses.take(), std::slice::from_ref(&both));
        uses.note("okta", SecretUse::Taken, at(3));
        uses.put_back(vec![both]);
        assert_eq!(uses.take(), [CredentialNote { refreshed: true, ..note(Ok(()), 3) }]);
    }
}
