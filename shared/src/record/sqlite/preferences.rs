//! Preferences in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use crate::error::StoreError;
use crate::ids::UserId;
use crate::preferences::{AllPreferences, Preferences};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::statement::{execute, first};
use crate::record::sqlite::store::SqliteRecord;

#[async_trait]
impl AllPreferences for SqliteRecord {
    async fn preferences(&self, user: &UserId) -> Result<Preferences, StoreError> {
        let user = user.clone();
        Ok(self.read(move |db| of(db, &user)).await?)
    }

    async fn set_preferences(&self, user: &UserId, preferences: &Preferences) -> Result<(), StoreError> {
        let (user, (types, quiet_hours, muted_chats)) = (user.clone(), preferences.texts());
        let sql = "INSERT INTO preferences (user_id, types, quiet_hours, muted_chats) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (user_id) DO UPDATE
                      SET types = excluded.types, quiet_hours = excluded.quiet_hours, muted_chats = excluded.muted_chats";
        self.write(move |db| execute(db, sql, params![user.as_str(), types, quiet_hours, muted_chats])).await?;
        Ok(())
    }
}

/// The preferences of a user; the default without any.
pub(crate) fn of(db: &Connection, user: &UserId) -> Result<Preferences, Failure> {
    let sql = "SELECT types, quiet_hours, muted_chats FROM preferences WHERE user_id = ?1";
    Ok(first(db, sql, params![user.as_str()], preferences)?.unwrap_or_default())
}

/// Columns: types, quiet_hours, muted_chats; all null for a user without preferences.
pub(crate) fn preferences(row: &Row<'_>) -> Result<Preferences, Failure> {
    let Some(types) = row.get::<_, Option<String>>("types")? else { return Ok(Preferences::default()) };
    let (quiet_hours, muted_chats): (Option<String>, String) = (row.get("quiet_hours")?, row.get("muted_chats")?);
    let preferences = Preferences::stored(&types, quiet_hours.as_deref(), &muted_chats);
    preferences.ok_or_else(|| broken("preferences"))
}
