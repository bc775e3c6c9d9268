//! Statements on `alerts` and what hangs on them.

#[cfg(test)]
mod tests;

use super::{Database, Writer, discard_if_failed};
use crate::alerts::{Columns, Merge, Stored, Tally, merge};
use crate::{AlertFilter, AlertRevision, AlertRow, Applied, Delivery, StoreError};
use azud_event::alert::{Alert, Severity};
use azud_event::time::EventTime;
use chrono::DateTime;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

/// Who writes, and when: what every row of one transaction shares.
struct Writing<'a> {
    incarnation: &'a str,
    epoch: Option<i64>,
}

impl Database {
    /// Applies a delivery in one transaction.
    pub async fn apply(
        &self,
        delivery: &Delivery<'_>,
        now: EventTime,
    ) -> Result<Applied, StoreError> {
        let writer = self.writer()?;
        let mut connection = writer.pool.acquire().await?;
        let applied = apply_all(&mut connection, writer, delivery, now).await;
        discard_if_failed(&mut connection, &applied);
        applied
    }

    /// Lists alerts, the latest revised first.
    pub async fn list(&self, filter: &AlertFilter) -> Result<Vec<AlertRow>, StoreError> {
        let after = filter.after.as_ref();
        // One statement for every filter; it walks the index of the order, and stops at the limit.
        let rows = sqlx::query(
            "SELECT * FROM alerts
             WHERE (?1 IS NULL OR state = ?1)
               AND (?2 IS NULL OR severity >= ?2)
               AND (?3 IS NULL OR rule_id = ?3)
               AND (?4 IS NULL OR revised_at >= ?4)
               AND (?5 IS NULL OR (revised_at, id) < (?5, ?6))
             ORDER BY revised_at DESC, id DESC
             LIMIT ?7",
        )
        .bind(filter.state.as_deref())
        .bind(filter.severity.map(|severity| i64::from(severity.id())))
        .bind(filter.rule.as_deref())
        .bind(filter.since.map(EventTime::to_rfc3339))
        .bind(after.map(|cursor| cursor.revised_at.as_str()))
        .bind(after.map(|cursor| cursor.id.as_str()))
        .bind(i64::from(filter.limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(alert_row).collect()
    }

    /// Gives one alert.
    pub async fn get(&self, id: &str) -> Result<Option<AlertRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM alerts WHERE id = ?1").bind(id);
        row.fetch_optional(&self.readers).await?.as_ref().map(alert_row).transpose()
    }

    /// Gives the history of an alert, the first revision first.
    pub async fn revisions(&self, id: &str) -> Result<Vec<AlertRevision>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM alert_revisions WHERE alert_id = ?1 ORDER BY revision")
                .bind(id)
                .fetch_all(&self.readers)
                .await?;
        rows.iter().map(|row| revision_row(row, id)).collect()
    }
}

/// Applies a delivery in one transaction of its own.
async fn apply_all(
    connection: &mut SqliteConnection,
    writer: &Writer,
    delivery: &Delivery<'_>,
    now: EventTime,
) -> Result<Applied, StoreError> {
    let epoch = delivery.epoch.map(signed);
    let writing = Writing { incarnation: &writer.incarnation, epoch };
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut applied = Applied::default();
    for alert in delivery.alerts {
        match apply_one(&mut transaction, &writing, alert, now).await? {
            true => applied.written += 1,
            false => applied.repeated += 1,
        }
    }
    let pipeline = delivery.alerts.last().map_or("", |alert| alert.rule.pipeline.as_str());
    sqlx::query(
        "INSERT INTO sink_progress (sink_id, instance_id, pipeline, incarnation, confirmed_epoch,
           rows_total, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (sink_id, instance_id) DO UPDATE SET
           pipeline = excluded.pipeline, incarnation = excluded.incarnation,
           confirmed_epoch = excluded.confirmed_epoch,
           rows_total = rows_total + excluded.rows_total, updated_at = excluded.updated_at",
    )
    .bind(delivery.sink_id)
    .bind(&writer.instance)
    .bind(pipeline)
    .bind(&writer.incarnation)
    .bind(epoch)
    .bind(applied.written as i64)
    .bind(now.to_rfc3339())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(applied)
}

/// Applies one revision; tells whether it was news.
async fn apply_one(
    connection: &mut SqliteConnection,
    writing: &Writing<'_>,
    alert: &Alert,
    now: EventTime,
) -> Result<bool, StoreError> {
    let columns = Columns::of(alert);
    let stored = stored(connection, &columns.id).await?;
    match merge(stored.as_ref(), writing.incarnation, &columns.tally) {
        Merge::Repeat => Ok(false),
        Merge::Adopt { carried } => {
            sqlx::query("UPDATE alerts SET incarnation = ?2, carried = ?3 WHERE id = ?1")
                .bind(&columns.id)
                .bind(writing.incarnation)
                .bind(Some(carried.to_json()))
                .execute(connection)
                .await?;
            Ok(false)
        }
        Merge::Write { tally, carried, escalated } => {
            let change = match escalated {
                Some(true) if columns.is_raise() => "escalated",
                Some(false) if columns.is_raise() => "amended",
                _ => &columns.change,
            };
            let row = Written { columns: &columns, tally: &tally, carried, change, writing };
            row.upsert(connection).await?;
            row.add_revision(connection).await?;
            row.add_entities(connection).await?;
            row.count_for_rule(connection, stored.is_none(), now).await?;
            Ok(true)
        }
    }
}

async fn stored(connection: &mut SqliteConnection, id: &str) -> Result<Option<Stored>, StoreError> {
    let row = sqlx::query(
        "SELECT incarnation, revision, event_count, severity, state, carried,
                first_event_at, last_event_at, raised_at
         FROM alerts WHERE id = ?1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let carried: Option<String> = row.try_get("carried")?;
    let carried = carried.as_deref().map(serde_json::from_str).transpose();
    let carried = carried.map_err(|source| column_error(id, "carried", source))?;
    let tally = Tally {
        revision: unsigned(&row, "revision")?,
        event_count: unsigned(&row, "event_count")?,
        severity: severity(&row)?,
        first_event_at: time(&row, "first_event_at")?,
        last_event_at: time(&row, "last_event_at")?,
        raised_at: time(&row, "raised_at")?,
    };
    let firing = row.try_get::<&str, _>("state")? == "firing";
    Ok(Some(Stored { incarnation: row.try_get("incarnation")?, tally, carried, firing }))
}

/// A revision as the row will show it.
struct Written<'a> {
    columns: &'a Columns,
    tally: &'a Tally,
    carried: Option<Tally>,
    change: &'a str,
    writing: &'a Writing<'a>,
}

/// The columns of people are not named here, so they keep what they hold.
const UPSERT: &str = "
    INSERT INTO alerts (
      id, rule_id, rule_version, runbook_url, pipeline, revision, change, state, mode, origin,
      severity, title, description, tags, key, key_hash, fields, window, window_start, window_end,
      first_event_at, last_event_at, event_count, raised_at, revised_at, resolved_at, delay_ms,
      completeness, entities, evidence, indicator, supersedes, superseded_by, reason,
      link, incarnation, epoch, carried)
    VALUES (
      ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
      ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37,
      ?38)
    ON CONFLICT (id) DO UPDATE SET
      rule_id = excluded.rule_id, rule_version = excluded.rule_version,
      runbook_url = excluded.runbook_url, pipeline = excluded.pipeline,
      revision = excluded.revision, change = excluded.change, state = excluded.state,
      mode = excluded.mode, origin = excluded.origin, severity = excluded.severity,
      title = excluded.title, description = excluded.description, tags = excluded.tags,
      key = excluded.key, key_hash = excluded.key_hash, fields = excluded.fields,
      window = excluded.window, window_start = excluded.window_start,
      window_end = excluded.window_end, first_event_at = excluded.first_event_at,
      last_event_at = excluded.last_event_at, event_count = excluded.event_count,
      raised_at = excluded.raised_at, revised_at = excluded.revised_at,
      resolved_at = excluded.resolved_at, delay_ms = excluded.delay_ms,
      completeness = excluded.completeness, entities = excluded.entities,
      evidence = excluded.evidence, indicator = excluded.indicator,
      supersedes = excluded.supersedes, superseded_by = excluded.superseded_by,
      reason = excluded.reason, link = excluded.link, incarnation = excluded.incarnation,
      epoch = excluded.epoch, carried = excluded.carried";

impl Written<'_> {
    async fn upsert(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let Written { columns, tally, carried, change, writing } = self;
        sqlx::query(UPSERT)
            .bind(&columns.id)
            .bind(&columns.rule_id)
            .bind(&columns.rule_version)
            .bind(&columns.runbook_url)
            .bind(&columns.pipeline)
            .bind(signed(tally.revision))
            .bind(change)
            .bind(&columns.state)
            .bind(&columns.mode)
            .bind(&columns.origin)
            .bind(i64::from(tally.severity.id()))
            .bind(&columns.title)
            .bind(&columns.description)
            .bind(&columns.tags)
            .bind(&columns.key)
            .bind(&columns.key_hash[..])
            .bind(&columns.fields)
            .bind(&columns.window)
            .bind(&columns.window_start)
            .bind(&columns.window_end)
            .bind(tally.first_event_at.to_rfc3339())
            .bind(tally.last_event_at.to_rfc3339())
            .bind(signed(tally.event_count))
            .bind(tally.raised_at.to_rfc3339())
            .bind(&columns.revised_at)
            .bind(&columns.resolved_at)
            .bind(columns.delay_ms)
            .bind(&columns.completeness)
            .bind(&columns.entities)
            .bind(&columns.evidence)
            .bind(&columns.indicator)
            .bind(&columns.supersedes)
            .bind(&columns.superseded_by)
            .bind(&columns.reason)
            .bind(&columns.link)
            .bind(writing.incarnation)
            .bind(writing.epoch)
            .bind(carried.map(|carried| carried.to_json()))
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn add_revision(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO alert_revisions (alert_id, revision, at, change, state, severity, fields,
               reason, event_count, incarnation, epoch)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .bind(&self.columns.id)
        .bind(signed(self.tally.revision))
        .bind(&self.columns.revised_at)
        .bind(self.change)
        .bind(&self.columns.state)
        .bind(i64::from(self.tally.severity.id()))
        .bind(&self.columns.fields)
        .bind(&self.columns.reason)
        .bind(signed(self.tally.event_count))
        .bind(self.writing.incarnation)
        .bind(self.writing.epoch)
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn add_entities(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        for (kind, value, role) in &self.columns.entity_rows {
            sqlx::query(
                "INSERT INTO alert_entities (alert_id, type, value, role) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
            )
            .bind(&self.columns.id)
            .bind(kind)
            .bind(value)
            .bind(role)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    /// Counts a new alert for its rule; a rule that was not announced gets its row by its first
    /// alert.
    async fn count_for_rule(
        &self,
        connection: &mut SqliteConnection,
        new: bool,
        now: EventTime,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO rules (id, pipeline, version, title, severity, mode, tags, loaded_at,
               alerts_total)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET alerts_total = alerts_total + excluded.alerts_total",
        )
        .bind(&self.columns.rule_id)
        .bind(&self.columns.pipeline)
        .bind(&self.columns.rule_version)
        .bind(&self.columns.title)
        .bind(i64::from(self.tally.severity.id()))
        .bind(&self.columns.mode)
        .bind(&self.columns.tags)
        .bind(now.to_rfc3339())
        .bind(i64::from(new))
        .execute(connection)
        .await?;
        Ok(())
    }
}

fn alert_row(row: &SqliteRow) -> Result<AlertRow, StoreError> {
    let id: String = row.try_get("id")?;
    Ok(AlertRow {
        rule_id: row.try_get("rule_id")?,
        rule_version: row.try_get("rule_version")?,
        runbook_url: row.try_get("runbook_url")?,
        pipeline: row.try_get("pipeline")?,
        revision: unsigned(row, "revision")?,
        change: row.try_get("change")?,
        state: row.try_get("state")?,
        mode: row.try_get("mode")?,
        origin: row.try_get("origin")?,
        severity: severity(row)?,
        title: row.try_get("title")?,
        description: row.try_get("description")?,
        tags: json(row, &id, "tags")?,
        key: json(row, &id, "key")?,
        fields: json(row, &id, "fields")?,
        window: optional_json(row, &id, "window")?,
        first_event_at: row.try_get("first_event_at")?,
        last_event_at: row.try_get("last_event_at")?,
        event_count: unsigned(row, "event_count")?,
        raised_at: row.try_get("raised_at")?,
        revised_at: row.try_get("revised_at")?,
        resolved_at: row.try_get("resolved_at")?,
        delay_ms: row.try_get("delay_ms")?,
        completeness: json(row, &id, "completeness")?,
        entities: json(row, &id, "entities")?,
        evidence: json(row, &id, "evidence")?,
        indicator: optional_json(row, &id, "indicator")?,
        supersedes: json(row, &id, "supersedes")?,
        superseded_by: row.try_get("superseded_by")?,
        reason: row.try_get("reason")?,
        link: row.try_get("link")?,
        triage: row.try_get("triage")?,
        assignee: row.try_get("assignee")?,
        verdict: row.try_get("verdict")?,
        id,
    })
}

fn revision_row(row: &SqliteRow, id: &str) -> Result<AlertRevision, StoreError> {
    Ok(AlertRevision {
        revision: unsigned(row, "revision")?,
        at: row.try_get("at")?,
        change: row.try_get("change")?,
        state: row.try_get("state")?,
        severity: severity(row)?,
        fields: json(row, id, "fields")?,
        reason: row.try_get("reason")?,
        event_count: unsigned(row, "event_count")?,
    })
}

fn json(row: &SqliteRow, id: &str, column: &'static str) -> Result<Value, StoreError> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|source| column_error(id, column, source))
}

fn optional_json(
    row: &SqliteRow,
    id: &str,
    column: &'static str,
) -> Result<Option<Value>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|source| column_error(id, column, source))
}

fn column_error(id: &str, column: &'static str, source: serde_json::Error) -> StoreError {
    StoreError::Column { id: id.to_owned(), column, source }
}

/// Reads a time as it was written, to the microsecond.
fn time(row: &SqliteRow, column: &str) -> Result<EventTime, StoreError> {
    let text: &str = row.try_get(column)?;
    let time = DateTime::parse_from_rfc3339(text).map_err(|error| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(error),
    })?;
    Ok(EventTime::from_chrono(time.to_utc()))
}

fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column)?;
    // The checks of the table let no negative number in.
    Ok(number.unsigned_abs())
}

fn severity(row: &SqliteRow) -> Result<Severity, StoreError> {
    let number: i64 = row.try_get("severity")?;
    let severity = Severity::ALL.into_iter().find(|severity| i64::from(severity.id()) == number);
    Ok(severity.expect("the checks of the table let only 1 to 5 in"))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
