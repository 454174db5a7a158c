//! Revocations in SQLite.

use async_trait::async_trait;
use rusqlite::params;

use crate::auth::{REVOCATION_RETENTION_MS, Revocations, Revoked};
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::statement::{all, execute, value};
use crate::record::sqlite::store::SqliteRecord;

#[async_trait]
impl Revocations for SqliteRecord {
    async fn revoke(&self, user: &UserId, at: At) -> Result<Vec<ConnectionId>, StoreError> {
        Ok(self.try_revoke(user, at).await?)
    }

    async fn revoked_since(&self, since_ms: i64) -> Result<Vec<Revoked>, StoreError> {
        Ok(self.try_revoked_since(since_ms).await?)
    }
}

impl SqliteRecord {
    async fn try_revoke(&self, user: &UserId, at: At) -> Result<Vec<ConnectionId>, Failure> {
        let revoke = "INSERT INTO revocations (user_id, revoked_at) VALUES (?1, ?2)
                      ON CONFLICT (user_id) DO UPDATE SET revoked_at = max(revoked_at, excluded.revoked_at)";
        let delete_tickets = "DELETE FROM tickets WHERE user_id = ?1 AND coalesce(token_issued_at <= ?2 / 1000, TRUE)";
        let close =
            "DELETE FROM connections WHERE user_id = ?1 AND coalesce(token_issued_at <= ?2 / 1000, TRUE) RETURNING id";
        let user = user.clone();
        self.write(move |db| {
            let now_ms = at.process_ms();
            execute(db, revoke, params![user.as_str(), now_ms])?;
            let too_old_ms = now_ms - REVOCATION_RETENTION_MS;
            execute(db, "DELETE FROM revocations WHERE revoked_at <= ?1", params![too_old_ms])?;
            execute(db, delete_tickets, params![user.as_str(), now_ms])?;
            // Who holds a revoked token must not be told of what arrives from now on.
            execute(db, "DELETE FROM push_subscriptions WHERE user_id = ?1", params![user.as_str()])?;
            let closed = all(db, close, params![user.as_str(), now_ms], value::<String>)?;
            Ok(closed.into_iter().map(ConnectionId::new).collect())
        })
        .await
    }

    async fn try_revoked_since(&self, since_ms: i64) -> Result<Vec<Revoked>, Failure> {
        let sql = "SELECT user_id, revoked_at FROM revocations WHERE revoked_at >= ?1";
        self.read(move |db| {
            all(db, sql, params![since_ms], |row| {
                Ok(Revoked { user: UserId::stored(row.get("user_id")?), at_ms: row.get("revoked_at")? })
            })
        })
        .await
    }
}
