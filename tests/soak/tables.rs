//! The tables of alerts, in either database.

use super::load::Came;
use crate::support::files::Folder;
use crate::support::postgres::Postgres;
use crate::support::tools;
use crate::support::wait;
use std::collections::BTreeSet;
use std::time::Duration;

/// Where an instance keeps its alerts.
pub enum Tables {
    /// The file in its folder.
    Sqlite,
    /// A server of the test's own.
    Postgres(Postgres),
}

/// What every alert ends as. Its title says key, window, count and sum.
const ENDS: &str = "SELECT id, title, event_count, state FROM alerts ORDER BY id";

/// Alerts whose history is not all revisions from the first to the last, each once.
const GAPS: &str = "SELECT alerts.id, alerts.revision, count(*), min(told.revision),
                           max(told.revision)
                    FROM alerts LEFT JOIN alert_revisions AS told ON told.alert_id = alerts.id
                    GROUP BY alerts.id, alerts.revision
                    HAVING count(*) <> alerts.revision OR min(told.revision) <> 1
                           OR max(told.revision) <> alerts.revision";

impl Tables {
    /// Gives the setting that names them.
    pub fn setting(&self) -> String {
        match self {
            Tables::Sqlite => String::new(),
            Tables::Postgres(server) => format!("database.url = \"{}\"\n", server.url()),
        }
    }

    /// Asks them; gives the rows, with their columns between `|`.
    pub fn ask(&self, folder: &Folder, statement: &str) -> Vec<String> {
        match self {
            Tables::Sqlite => tools::sqlite(folder, statement),
            Tables::Postgres(server) => server.ask(statement).lines().map(str::to_owned).collect(),
        }
    }

    /// Waits until every record that came is counted, and every window is over.
    #[track_caller]
    pub fn are_settled(&self, folder: &Folder, came: &Came, patience: Duration) {
        let good = came.count() - came.letters;
        let wanted = format!("{good}|0");
        let statement = "SELECT coalesce(sum(event_count), 0),
                                count(CASE WHEN state <> 'resolved' THEN 1 END) FROM alerts";
        let mut found = Vec::new();
        let start = std::time::Instant::now();
        wait::until("every record to be counted", 2 * patience, || {
            found = self.ask(folder, statement);
            assert!(start.elapsed() < patience, "{found:?}, not {wanted}");
            (found == [wanted.clone()]).then_some(())
        });
    }

    /// Gives what every alert ended as.
    ///
    /// # Panics
    /// When a key has two alerts of one window, or a revision is missing or told twice.
    #[track_caller]
    pub fn ends(&self, folder: &Folder) -> Vec<String> {
        assert_eq!(self.ask(folder, GAPS), Vec::<String>::new(), "revisions that are not in a row");
        let ends = self.ask(folder, ENDS);
        let windows: BTreeSet<_> = ends
            .iter()
            .map(|end| end.split(['|', ' ']).skip(1).take(2).collect::<Vec<_>>())
            .collect();
        assert_eq!(windows.len(), ends.len(), "two alerts of one window");
        ends
    }
}
