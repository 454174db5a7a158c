//! Applies migrations, and records them in sqlx's table, as Postgres does.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use sqlx::migrate::{Migration, Migrator};

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| sqlx::migrate!("../migrations/sqlite"));

const APPLIED: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
)";

/// Why a database cannot be migrated.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    /// A statement failed.
    #[error(transparent)]
    Statement(#[from] rusqlite::Error),
    /// An earlier release began a migration and did not end it.
    #[error("migration {0} was not applied completely")]
    Incomplete(i64),
    /// A migration was applied that has the same number and another text.
    #[error("migration {0} was applied with another text")]
    Changed(i64),
}

/// The number of the last migration that this code has.
pub(super) fn last_needed() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Applies missing migrations in order, each in a transaction of its own. Those of a newer release are left alone, so
/// that an older one runs on its file. Returns the number of the last one in the database.
pub(super) fn migrate(db: &mut Connection) -> Result<i64, MigrateError> {
    db.execute_batch(APPLIED)?;
    for migration in MIGRATIONS.iter() {
        apply(db, migration)?;
    }
    Ok(db.query_row("SELECT max(version) FROM _sqlx_migrations", [], |row| row.get(0))?)
}

fn apply(db: &mut Connection, migration: &Migration) -> Result<(), MigrateError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sql = "SELECT success, checksum FROM _sqlx_migrations WHERE version = ?1";
    let columns = |row: &Row<'_>| Ok((row.get("success")?, row.get("checksum")?));
    let applied: Option<(bool, Vec<u8>)> = transaction.query_row(sql, [migration.version], columns).optional()?;
    match applied {
        Some((false, _)) => return Err(MigrateError::Incomplete(migration.version)),
        Some((true, checksum)) if checksum == *migration.checksum => return Ok(()),
        Some(_) => return Err(MigrateError::Changed(migration.version)),
        None => {}
    }
    transaction.execute_batch(migration.sql.as_str())?;
    transaction.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (?1, ?2, TRUE, ?3, -1)",
        params![migration.version, migration.description, migration.checksum],
    )?;
    transaction.commit()?;
    Ok(())
}
