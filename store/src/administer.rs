//! What people change, whether the instance runs or not.
//!
//! They write through a connection of their own, without the lock of the writer: that guards the
//! one state of the rules, and nothing here touches it. The instance notices within seconds.

use crate::connectors::{ConnectorRow, StoredCursor};
use crate::keys::Keyring;
use crate::location::Place as At;
use crate::seal::Place;
use crate::statements::{self, CursorChange, SealedCursor, row_name};
use crate::{Location, Store, StoreError, Writer, postgres, sqlite};
use azud_event::clock::Clock;
use azud_plan::component::Cursor;
use std::collections::BTreeMap;
use uuid::Uuid;

impl Store {
    /// Opens the database for what people change: connectors, credentials, tokens, keys; also while
    /// an instance runs with it. It is made when there is none.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when its schema must be brought up to date and an instance runs with
    /// it; else as [`Store::open`].
    pub async fn administer(location: &Location) -> Result<Self, StoreError> {
        let (pool, lock) = match &location.0 {
            At::File(path) => sqlite::administer(path).await?,
            At::Server(options) => (postgres::administer(options, location).await?, None),
        };
        let readers = match &location.0 {
            At::File(path) => sqlite::readers(path).await?,
            At::Server(options) => postgres::readers(options).await?,
        };
        let nobody = Uuid::nil();
        let writer =
            Writer { pool, instance: nobody, incarnation: nobody, process: nobody, _lock: lock };
        Ok(Store { readers, writer: Some(writer), clock: Clock::system() })
    }

    /// Removes a connector that no document has, with its cursors and history.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when the row is another one by now; else what the database answers.
    pub async fn remove_connector(&self, connector: &ConnectorRow) -> Result<(), StoreError> {
        statements::remove_connector(self.writer()?, connector).await
    }

    /// Changes what tells a connector from others of its definition.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when the row is another one by now; else what the database answers.
    pub async fn label_connector(
        &self,
        connector: &ConnectorRow,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let (writer, now) = (self.writer()?, self.clock.now());
        statements::label_connector(writer, connector, labels, now).await
    }

    /// Lists how far a connector has come, as people see it.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn cursor_summaries(
        &self,
        connector: &ConnectorRow,
    ) -> Result<Vec<StoredCursor>, StoreError> {
        let rows = statements::cursors(&self.readers, id(connector)).await?;
        let stored = rows.into_iter().map(|row| StoredCursor {
            partition: row.partition,
            summary: row.summary,
            event_time: row.event_time,
            format: row.format,
            updated_at: row.updated_at,
        });
        Ok(stored.collect())
    }

    /// Gives the cursors of a connector, by partition.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] when one does not open; else what the database answers.
    pub async fn cursors(
        &self,
        keyring: &Keyring,
        connector: &ConnectorRow,
    ) -> Result<BTreeMap<String, Cursor>, StoreError> {
        let mut cursors = BTreeMap::new();
        for row in statements::cursors(&self.readers, id(connector)).await? {
            let name = row_name(id(connector), Some(&row.partition));
            let opened = keyring.open_fresh(self, place(&name), &row.sealed).await;
            let state = opened.map_err(|why| StoreError::Sealed {
                name: connector.name.clone(),
                why: why.to_string(),
            })?;
            let cursor = Cursor {
                state: state.to_vec(),
                format: row.format,
                summary: row.summary,
                event_time: row.event_time,
            };
            cursors.insert(row.partition, cursor);
        }
        Ok(cursors)
    }

    /// Sets a cursor; who polls reads it before its next poll.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn set_cursor(
        &self,
        keyring: &Keyring,
        connector: &ConnectorRow,
        partition: &str,
        cursor: &Cursor,
    ) -> Result<(), StoreError> {
        let name = row_name(id(connector), Some(partition));
        let sealed = SealedCursor {
            sealed: keyring.seal(place(&name), &cursor.state)?,
            summary: cursor.summary.clone(),
            event_time: cursor.event_time,
            format: cursor.format,
        };
        let change = CursorChange {
            version: None,
            id: id(connector),
            partition: partition.to_owned(),
            cursor: Some(sealed),
            term: None,
        };
        statements::set_cursor(self.writer()?, &change, self.clock.now()).await
    }

    /// Forgets the cursors of a connector, or that of one partition; gives how many.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn reset_cursors(
        &self,
        connector: &ConnectorRow,
        partition: Option<&str>,
    ) -> Result<u64, StoreError> {
        statements::reset_cursors(self.writer()?, id(connector), partition).await
    }
}

fn id(connector: &ConnectorRow) -> Uuid {
    Uuid::parse_str(&connector.id).expect("it was written from a UUID")
}

fn place(row: &str) -> Place<'_> {
    Place { table: "connector_cursors", row, field: "cursor" }
}
