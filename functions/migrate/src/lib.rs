//! Applies missing database migrations. It has no trigger: each deployment invokes it before the other functions are
//! replaced, which do not run on a schema older than theirs. It goes past the pooler, if there is one. With
//! `FUNCTIONS_DATABASE_URL`, it also makes the role by which the other functions reach the database.
//!
//! After a restore from a backup, an operator invokes it with the event `{"renewEpoch": true}`.

use std::error::Error;

use serde::Serialize;
use serde_json::Value;
use shared::config::DatabaseRole;
use shared::inbox::epochs::Epochs;
use shared::record::postgres::PostgresRecord;

/// Environment variables without which this function does not start.
pub const NEEDS: &[&str] = &["DATABASE_URL"];

/// The result of a run: the database has every migration of this release.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Migrated {
    /// The number of the last migration.
    pub version: i64,
    /// The role that the functions have, if it was to be made.
    pub functions_role: Option<String>,
    /// Whether the event asked for another epoch, which has begun then.
    pub epoch_renewed: bool,
}

/// Applies the missing migrations, makes the role of the functions if there is one to make, and then does what the event
/// asks for besides. Idempotent, save that each epoch is another one; concurrent runs wait for each other.
pub async fn handle(
    record: &PostgresRecord,
    functions_role: Option<&DatabaseRole>,
    event: &Value,
) -> Result<Migrated, Box<dyn Error + Send + Sync>> {
    let version = record.migrate().await?;
    if let Some(role) = functions_role {
        record.give_functions_role(role).await?;
    }
    let epoch_renewed = event["renewEpoch"] == true;
    if epoch_renewed {
        record.renew_epoch().await?;
    }
    let functions_role = functions_role.map(|role| role.name.clone());
    Ok(Migrated { version, functions_role, epoch_renewed })
}
