//! What leaves the database by age, and how: in batches that are over before anybody waits.

use crate::{Store, StoreError, statements};
use azud_event::time::EventTime;

/// A table whose rows leave when they are old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retained {
    /// Alerts that are resolved or withdrawn, with their revisions and entities; by when they were
    /// revised last. One that is firing stays.
    Alerts,
    /// Who did what.
    AuditLog,
    /// Changes of the status of connectors.
    ConnectorStatusHistory,
    /// Groups of dead letters that were discarded or lost; by when. Those that are held stay.
    DeadLetters,
}

impl Retained {
    /// Every table.
    pub const ALL: [Retained; 4] = [
        Retained::Alerts,
        Retained::AuditLog,
        Retained::ConnectorStatusHistory,
        Retained::DeadLetters,
    ];

    /// Gives its name.
    pub fn name(self) -> &'static str {
        match self {
            Retained::Alerts => "alerts",
            Retained::AuditLog => "audit_log",
            Retained::ConnectorStatusHistory => "connector_status_history",
            Retained::DeadLetters => "dead_letters",
        }
    }
}

impl Store {
    /// Removes a batch of the rows of a table that are older than `before`, the oldest first; gives
    /// how many rows went, those that hang on them included. After 0 there is nothing more to do.
    ///
    /// # Errors
    /// As [`Store::apply`]; nothing is removed then.
    pub async fn retire(&self, table: Retained, before: EventTime) -> Result<u64, StoreError> {
        let (writer, now) = (self.writer()?, self.clock.now());
        match table {
            Retained::Alerts => statements::retire_alerts(&self.readers, writer, before, now).await,
            Retained::AuditLog => {
                statements::retire_audit(&self.readers, writer, before, now).await
            }
            Retained::ConnectorStatusHistory => {
                statements::retire_history(&self.readers, writer, before, now).await
            }
            Retained::DeadLetters => statements::retire_dead_letters(writer, before, now).await,
        }
    }
}
