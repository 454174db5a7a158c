//! Brings the database up to date: no trigger, invoked by whoever deploys, before or after the other functions.

use serde::Serialize;
use shared::record::postgres::{OpenError, PostgresRecord};

/// The variables that it cannot do without.
pub const NEEDS: &[&str] = &["DATABASE_URL"];

/// The database has every migration of this version.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The last of them.
    pub version: i64,
}

/// Applies what is missing. Invoked twice it does nothing, and two at once wait for each other.
pub async fn handle(record: &PostgresRecord) -> Result<Migrated, OpenError> {
    Ok(Migrated { version: record.migrate().await? })
}
