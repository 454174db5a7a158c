//! Applies missing database migrations. It has no trigger: each deployment invokes it before the other functions are
//! replaced, which do not run on a schema older than theirs. It goes past the pooler, if there is one.

use serde::Serialize;
use shared::record::postgres::{OpenError, PostgresRecord};

/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL"];

/// The result of a run: the database has every migration of this release.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The number of the last migration.
    pub version: i64,
}

/// Applies the missing migrations. Idempotent; concurrent runs wait for each other.
pub async fn handle(record: &PostgresRecord) -> Result<Migrated, OpenError> {
    Ok(Migrated { version: record.migrate().await? })
}
