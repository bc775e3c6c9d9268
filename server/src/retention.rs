//! Removes from the database what is older than `[retention]` says.

use azud_event::clock::Clock;
use azud_plan::resolve::Retention;
use azud_plan::telemetry::RETIRED_ROWS;
use azud_store::{Retained, Store, StoreError};
use metrics::counter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often is looked for what is old.
const INTERVAL: Duration = Duration::from_secs(3600);

/// How long is waited between two batches, for all others who write.
const PAUSE: Duration = Duration::from_millis(50);

/// Removes what is old again and again, for ever.
pub async fn run(store: Arc<Store>, retention: Retention, clock: Clock) {
    let mut timer = interval(INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        for table in Retained::ALL {
            if let Err(error) = retire(&store, table, kept(&retention, table), &clock).await {
                let table = table.name();
                tracing::warn!(table, %error, "what is old cannot be removed; it is tried again");
            }
        }
    }
}

fn kept(retention: &Retention, table: Retained) -> Duration {
    match table {
        Retained::Alerts => retention.alerts,
        Retained::AuditLog => retention.audit_log,
        Retained::ConnectorStatusHistory => retention.connector_status_history,
        Retained::DeadLetters => retention.dead_letters,
    }
}

async fn retire(
    store: &Store,
    table: Retained,
    kept: Duration,
    clock: &Clock,
) -> Result<(), StoreError> {
    let removed = counter!(RETIRED_ROWS, "table" => table.name());
    let before = clock.now().saturating_sub(kept);
    loop {
        match store.retire(table, before).await? {
            0 => return Ok(()),
            rows => removed.increment(rows),
        }
        sleep(PAUSE).await;
    }
}
