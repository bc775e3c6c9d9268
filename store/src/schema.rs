//! The versions of the tables: bringing them up to date, and refusing what another program made.

use crate::StoreError;
use crate::sql::Pool;
use sqlx::SqlStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use std::borrow::Cow;

/// Version, what for, and text of each migration, ascending. The versions of both databases go
/// together, so that a number means the same tables.
pub(crate) type Migrations = &'static [(i64, &'static str, &'static str)];

/// What of the schema differs between the databases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// Forward only; a released one never changes.
    pub migrations: Migrations,
    /// Tells in column `is_new` whether there never was a migration.
    pub is_new: &'static str,
}

impl Dialect {
    /// Gives what applies the migrations. For PostgreSQL it takes an advisory lock; SQLite has
    /// none, there the lock of the writer is held already.
    pub fn migrator(&self) -> Migrator {
        let migrations = self.migrations.iter().map(|(version, name, text)| {
            let (name, text) = (Cow::Borrowed(*name), SqlStr::from_static(text));
            Migration::new(*version, name, MigrationType::Simple, text, false)
        });
        Migrator::with_migrations(migrations.collect())
    }

    /// Checks that the tables are of the version that this program knows.
    pub async fn check_version(&self, pool: &Pool) -> Result<(), StoreError> {
        let (found, known) = (self.version(pool).await?, self.newest());
        match found {
            _ if found > known => Err(StoreError::NewerSchema { found, known }),
            _ if found < known => Err(StoreError::OlderSchema { found, known }),
            _ => Ok(()),
        }
    }

    /// Says why migrating failed; `explain` names an error of the database itself.
    pub fn explain(
        &self,
        error: MigrateError,
        explain: fn(sqlx::Error) -> StoreError,
    ) -> StoreError {
        let known = self.newest();
        match error {
            MigrateError::VersionMissing(found) if found > known => {
                StoreError::NewerSchema { found, known }
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                explain(error)
            }
            error => StoreError::Migration(error),
        }
    }

    /// The version of the newest migration that this program has.
    fn newest(&self) -> i64 {
        self.migrations.last().map_or(0, |(version, ..)| *version)
    }

    /// Gives the version of the newest migration in the database, 0 when it never had any.
    async fn version(&self, pool: &Pool) -> Result<i64, StoreError> {
        const VERSION: &str = "SELECT coalesce(max(version), 0) AS version FROM _sqlx_migrations";
        // A number in one database and a truth in the other, so it is asked for as a number.
        let is_new = pool.rows(self.is_new, &[]).await?;
        match is_new.first() {
            Some(row) if row.integer("is_new")? == 0 => {}
            _ => return Ok(0),
        }
        let rows = pool.rows(VERSION, &[]).await?;
        rows.first().map_or(Ok(0), |row| row.integer("version"))
    }
}

#[cfg(test)]
mod tests {
    use crate::{postgres, sqlite};
    use std::fs;

    #[test]
    fn every_migration_in_the_folder_is_applied_in_its_order() {
        for (folder, migrations) in
            [("sqlite", sqlite::MIGRATIONS), ("postgres", postgres::MIGRATIONS)]
        {
            let path = format!("{}/../migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let entries = fs::read_dir(path).unwrap();
            let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
            let mut files: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
            files.sort();
            let listed = migrations.iter();
            let listed: Vec<_> =
                listed.map(|(id, name, _)| format!("{id:04}_{name}.sql")).collect();
            assert_eq!(files, listed, "{folder}");
            assert!(migrations.is_sorted_by_key(|(version, ..)| *version));
        }
    }

    #[test]
    fn a_version_means_the_same_tables_in_both() {
        let names = |migrations: super::Migrations| -> Vec<_> {
            migrations.iter().map(|(version, name, _)| (*version, *name)).collect()
        };
        assert_eq!(names(sqlite::MIGRATIONS), names(postgres::MIGRATIONS));
    }
}
