//! Statements on `alerts` and what hangs on them.

use super::instances::present;
use super::progress::advance;
use crate::alerts::{Carried, Columns, Merge, Stored, Tally, merge};
use crate::sql::{Connection, Pool, Row, Transaction, Value, within};
use crate::{AlertFilter, AlertRevision, AlertRow, Applied, Delivery, StoreError, Writer};
use azud_event::alert::Alert;
use azud_event::time::EventTime;
use uuid::Uuid;

/// Applies a delivery in one transaction.
pub(crate) async fn apply(
    writer: &Writer,
    delivery: &Delivery<'_>,
    now: EventTime,
) -> Result<Applied, StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let applying = apply_all(&mut connection, writer, delivery, now);
    let applied = within(writer.pool.patience(), applying).await;
    connection.release(&applied);
    applied
}

/// Lists alerts, the latest revised first.
pub(crate) async fn list(pool: &Pool, filter: &AlertFilter) -> Result<Vec<AlertRow>, StoreError> {
    // One statement for every filter; it walks the index of the order, and stops at the limit.
    const LIST: &str = "SELECT * FROM alerts
         WHERE ($1 IS NULL OR state = $1)
           AND ($2 IS NULL OR severity >= $2)
           AND ($3 IS NULL OR rule_id = $3)
           AND ($4 IS NULL OR revised_at >= $4)
           AND ($5 IS NULL OR (revised_at, id) < ($5, $6))
         ORDER BY revised_at DESC, id DESC
         LIMIT $7";
    let after = filter.after.as_ref();
    let values = [
        (&filter.state).into(),
        filter.severity.map_or(Value::Integer(None), Value::from),
        (&filter.rule).into(),
        Value::Time(filter.since),
        Value::Time(after.map(|cursor| cursor.revised_at)),
        Value::Text(after.map(|cursor| cursor.id.as_str())),
        i64::from(filter.limit).into(),
    ];
    pool.rows(LIST, &values).await?.iter().map(alert_row).collect()
}

/// Gives one alert.
pub(crate) async fn get(pool: &Pool, id: &str) -> Result<Option<AlertRow>, StoreError> {
    let rows = pool.rows("SELECT * FROM alerts WHERE id = $1", &[id.into()]).await?;
    rows.first().map(alert_row).transpose()
}

/// Gives the history of an alert, the first revision first.
pub(crate) async fn revisions(pool: &Pool, id: &str) -> Result<Vec<AlertRevision>, StoreError> {
    const REVISIONS: &str = "SELECT * FROM alert_revisions WHERE alert_id = $1 ORDER BY revision";
    pool.rows(REVISIONS, &[id.into()]).await?.iter().map(revision_row).collect()
}

/// Who writes, and when: what every row of one transaction shares.
struct Writing {
    incarnation: Uuid,
    epoch: Option<u64>,
}

async fn apply_all(
    connection: &mut Connection,
    writer: &Writer,
    delivery: &Delivery<'_>,
    now: EventTime,
) -> Result<Applied, StoreError> {
    let epoch = delivery.progress.map(|reached| reached.epoch);
    let writing = Writing { incarnation: writer.incarnation, epoch };
    let mut transaction = connection.begin().await?;
    present(&mut transaction, writer, now).await?;
    let mut applied = Applied::default();
    for alert in delivery.alerts {
        match apply_one(&mut transaction, &writing, alert, now).await? {
            true => applied.written += 1,
            false => applied.repeated += 1,
        }
    }
    advance(&mut transaction, writer, delivery, applied.written as u64, now).await?;
    transaction.commit().await?;
    Ok(applied)
}

/// Applies one revision; tells whether it was news.
async fn apply_one(
    transaction: &mut Transaction<'_>,
    writing: &Writing,
    alert: &Alert,
    now: EventTime,
) -> Result<bool, StoreError> {
    const ADOPT: &str = "UPDATE alerts SET incarnation = $2, carried = $3 WHERE id = $1";
    let columns = Columns::of(alert);
    let stored = stored(transaction, &columns.id).await?;
    let incarnation = writing.incarnation.to_string();
    match merge(stored.as_ref(), &incarnation, &columns.tally) {
        Merge::Repeat => Ok(false),
        Merge::Adopt { carried } => {
            let carried = carried.to_json();
            let incarnation = Value::Uuid(writing.incarnation);
            let values = [(&columns.id).into(), incarnation, Value::Json(Some(&carried))];
            transaction.execute(ADOPT, &values).await?;
            Ok(false)
        }
        Merge::Write { tally, carried, escalated } => {
            let change = match escalated {
                Some(true) if columns.is_raise() => "escalated",
                Some(false) if columns.is_raise() => "amended",
                _ => &columns.change,
            };
            let row = Written { columns: &columns, tally: &tally, carried, change, writing };
            row.upsert(transaction).await?;
            row.add_revision(transaction).await?;
            row.add_entities(transaction).await?;
            row.count_for_rule(transaction, stored.is_none(), now).await?;
            Ok(true)
        }
    }
}

async fn stored(transaction: &mut Transaction<'_>, id: &str) -> Result<Option<Stored>, StoreError> {
    const STORED: &str = "SELECT incarnation, revision, event_count, severity, state, carried,
           first_event_at, last_event_at, raised_at
         FROM alerts WHERE id = $1";
    let rows = transaction.rows(STORED, &[id.into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let carried = row.optional_json("carried")?.map(serde_json::from_value).transpose();
    let carried = carried.map_err(|source| StoreError::Column { column: "carried", source })?;
    let tally = Tally {
        revision: row.count("revision")?,
        event_count: row.count("event_count")?,
        severity: row.severity()?,
        first_event_at: row.time("first_event_at")?,
        last_event_at: row.time("last_event_at")?,
        raised_at: row.time("raised_at")?,
    };
    let incarnation = row.uuid("incarnation")?.to_string();
    Ok(Some(Stored { incarnation, tally, carried, firing: row.text("state")? == "firing" }))
}

/// A revision as the row will show it.
struct Written<'a> {
    columns: &'a Columns,
    tally: &'a Tally,
    carried: Option<Carried>,
    change: &'a str,
    writing: &'a Writing,
}

/// The columns of people are not named here, so they keep what they hold.
const UPSERT: &str = r#"
    INSERT INTO alerts (
      id, rule_id, rule_version, runbook_url, pipeline, revision, change, state, mode, origin,
      severity, title, description, tags, key, key_hash, fields, "window", window_start, window_end,
      first_event_at, last_event_at, event_count, raised_at, revised_at, resolved_at, delay_ms,
      completeness, entities, evidence, indicator, supersedes, superseded_by, reason,
      link, incarnation, epoch, carried)
    VALUES (
      $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
      $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37,
      $38)
    ON CONFLICT (id) DO UPDATE SET
      rule_id = excluded.rule_id, rule_version = excluded.rule_version,
      runbook_url = excluded.runbook_url, pipeline = excluded.pipeline,
      revision = excluded.revision, change = excluded.change, state = excluded.state,
      mode = excluded.mode, origin = excluded.origin, severity = excluded.severity,
      title = excluded.title, description = excluded.description, tags = excluded.tags,
      key = excluded.key, key_hash = excluded.key_hash, fields = excluded.fields,
      "window" = excluded."window", window_start = excluded.window_start,
      window_end = excluded.window_end, first_event_at = excluded.first_event_at,
      last_event_at = excluded.last_event_at, event_count = excluded.event_count,
      raised_at = excluded.raised_at, revised_at = excluded.revised_at,
      resolved_at = excluded.resolved_at, delay_ms = excluded.delay_ms,
      completeness = excluded.completeness, entities = excluded.entities,
      evidence = excluded.evidence, indicator = excluded.indicator,
      supersedes = excluded.supersedes, superseded_by = excluded.superseded_by,
      reason = excluded.reason, link = excluded.link, incarnation = excluded.incarnation,
      epoch = excluded.epoch, carried = excluded.carried"#;

impl Written<'_> {
    fn epoch(&self) -> Value<'_> {
        self.writing.epoch.map_or(Value::Integer(None), Value::from)
    }

    async fn upsert(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        let Written { columns, tally, change, writing, .. } = self;
        let carried = self.carried.as_ref().map(Carried::to_json);
        let values = [
            (&columns.id).into(),
            (&columns.rule_id).into(),
            (&columns.rule_version).into(),
            (&columns.runbook_url).into(),
            (&columns.pipeline).into(),
            tally.revision.into(),
            (*change).into(),
            (&columns.state).into(),
            (&columns.mode).into(),
            (&columns.origin).into(),
            tally.severity.into(),
            (&columns.title).into(),
            (&columns.description).into(),
            Value::Json(Some(&columns.tags)),
            Value::Json(Some(&columns.key)),
            Value::Bytes(&columns.key_hash),
            Value::Json(Some(&columns.fields)),
            Value::Json(columns.window.as_deref()),
            Value::Time(columns.window_start),
            Value::Time(columns.window_end),
            tally.first_event_at.into(),
            tally.last_event_at.into(),
            tally.event_count.into(),
            tally.raised_at.into(),
            columns.revised_at.into(),
            Value::Time(columns.resolved_at),
            Value::Integer(columns.delay_ms),
            Value::Json(Some(&columns.completeness)),
            Value::Json(Some(&columns.entities)),
            Value::Json(Some(&columns.evidence)),
            Value::Json(columns.indicator.as_deref()),
            Value::Json(Some(&columns.supersedes)),
            (&columns.superseded_by).into(),
            (&columns.reason).into(),
            (&columns.link).into(),
            Value::Uuid(writing.incarnation),
            self.epoch(),
            Value::Json(carried.as_deref()),
        ];
        transaction.execute(UPSERT, &values).await?;
        Ok(())
    }

    async fn add_revision(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        const ADD: &str = "INSERT INTO alert_revisions (alert_id, revision, at, change, state,
               severity, fields, reason, event_count, incarnation, epoch)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        let values = [
            (&self.columns.id).into(),
            self.tally.revision.into(),
            self.columns.revised_at.into(),
            self.change.into(),
            (&self.columns.state).into(),
            self.tally.severity.into(),
            Value::Json(Some(&self.columns.fields)),
            (&self.columns.reason).into(),
            self.tally.event_count.into(),
            Value::Uuid(self.writing.incarnation),
            self.epoch(),
        ];
        transaction.execute(ADD, &values).await?;
        Ok(())
    }

    async fn add_entities(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        const ADD: &str = "INSERT INTO alert_entities (alert_id, type, value, role)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        for (kind, value, role) in &self.columns.entity_rows {
            let values = [(&self.columns.id).into(), kind.into(), value.into(), role.into()];
            transaction.execute(ADD, &values).await?;
        }
        Ok(())
    }

    /// Counts a new alert for its rule; a rule that was not announced gets its row by its first
    /// alert.
    async fn count_for_rule(
        &self,
        transaction: &mut Transaction<'_>,
        new: bool,
        now: EventTime,
    ) -> Result<(), StoreError> {
        const COUNT: &str = "
            INSERT INTO rules (id, pipeline, version, title, severity, mode, tags, loaded_at,
              alerts_total)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT (id) DO UPDATE SET
              alerts_total = rules.alerts_total + excluded.alerts_total";
        let values = [
            (&self.columns.rule_id).into(),
            (&self.columns.pipeline).into(),
            (&self.columns.rule_version).into(),
            (&self.columns.title).into(),
            self.tally.severity.into(),
            (&self.columns.mode).into(),
            Value::Json(Some(&self.columns.tags)),
            now.into(),
            i64::from(new).into(),
        ];
        transaction.execute(COUNT, &values).await?;
        Ok(())
    }
}

fn alert_row(row: &Row) -> Result<AlertRow, StoreError> {
    Ok(AlertRow {
        id: row.text("id")?,
        rule_id: row.text("rule_id")?,
        rule_version: row.text("rule_version")?,
        runbook_url: row.optional_text("runbook_url")?,
        pipeline: row.text("pipeline")?,
        revision: row.count("revision")?,
        change: row.text("change")?,
        state: row.text("state")?,
        mode: row.text("mode")?,
        origin: row.text("origin")?,
        severity: row.severity()?,
        title: row.text("title")?,
        description: row.optional_text("description")?,
        tags: row.json("tags")?,
        key: row.json("key")?,
        fields: row.json("fields")?,
        window: row.optional_json("window")?,
        first_event_at: row.time_text("first_event_at")?,
        last_event_at: row.time_text("last_event_at")?,
        event_count: row.count("event_count")?,
        raised_at: row.time_text("raised_at")?,
        revised_at: row.time_text("revised_at")?,
        resolved_at: row.optional_time_text("resolved_at")?,
        delay_ms: row.optional_integer("delay_ms")?,
        completeness: row.json("completeness")?,
        entities: row.json("entities")?,
        evidence: row.json("evidence")?,
        indicator: row.optional_json("indicator")?,
        supersedes: row.json("supersedes")?,
        superseded_by: row.optional_text("superseded_by")?,
        reason: row.optional_text("reason")?,
        link: row.optional_text("link")?,
        triage: row.text("triage")?,
        assignee: row.optional_text("assignee")?,
        verdict: row.optional_text("verdict")?,
    })
}

fn revision_row(row: &Row) -> Result<AlertRevision, StoreError> {
    Ok(AlertRevision {
        revision: row.count("revision")?,
        at: row.time_text("at")?,
        change: row.text("change")?,
        state: row.text("state")?,
        severity: row.severity()?,
        fields: row.json("fields")?,
        reason: row.optional_text("reason")?,
        event_count: row.count("event_count")?,
    })
}
