//! Preferences in Postgres.

use async_trait::async_trait;
use sqlx::postgres::PgRow;

use crate::error::StoreError;
use crate::ids::UserId;
use crate::preferences::{AllPreferences, Preferences};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{broken, column};
use crate::record::postgres::sql::retried;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;

#[async_trait]
impl AllPreferences for PostgresRecord {
    async fn preferences(&self, user: &UserId) -> Result<Preferences, StoreError> {
        Ok(self.try_preferences(user).await?)
    }

    async fn set_preferences(&self, user: &UserId, preferences: &Preferences) -> Result<(), StoreError> {
        retried!(self.try_set_preferences(user, preferences))
    }
}

impl PostgresRecord {
    async fn try_preferences(&self, user: &UserId) -> Result<Preferences, Failure> {
        let query = sqlx::query("SELECT types, quiet_hours, muted_chats FROM preferences WHERE user_id = $1");
        let row = query.bind(user.as_str()).read_optional(&mut *self.connection().await?).await?;
        Ok(row.map_or_else(|| Ok(Preferences::default()), |row| preferences(&row))?)
    }

    async fn try_set_preferences(&self, user: &UserId, preferences: &Preferences) -> Result<(), Failure> {
        let (types, quiet_hours, muted_chats) = preferences.texts();
        let query = sqlx::query(
            "INSERT INTO preferences (user_id, types, quiet_hours, muted_chats) VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_id) DO UPDATE
                SET types = excluded.types, quiet_hours = excluded.quiet_hours, muted_chats = excluded.muted_chats",
        );
        let query = query.bind(user.as_str()).bind(types).bind(quiet_hours).bind(muted_chats);
        query.run(&mut *self.connection().await?).await?;
        Ok(())
    }
}

/// Columns: types, quiet_hours, muted_chats; all null for a user without preferences.
pub(crate) fn preferences(row: &PgRow) -> Result<Preferences, StoreError> {
    let Some(types) = column(row, "types")? else { return Ok(Preferences::default()) };
    let preferences = Preferences::stored(types, column(row, "quiet_hours")?, column(row, "muted_chats")?);
    preferences.ok_or_else(|| broken("preferences"))
}
