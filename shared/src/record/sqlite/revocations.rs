//! Revocations in SQLite.

use async_trait::async_trait;
use sqlx::Row;

use crate::auth::{REVOCATION_RETENTION_MS, Revocations, Revoked};
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::store::{SqliteRecord, commit};

#[async_trait]
impl Revocations for SqliteRecord {
    async fn revoke(&self, user: &UserId, at: At) -> Result<Vec<ConnectionId>, StoreError> {
        Ok(self.try_revoke(user, at.process_ms()).await?)
    }

    async fn revoked_since(&self, since_ms: i64) -> Result<Vec<Revoked>, StoreError> {
        Ok(self.try_revoked_since(since_ms).await?)
    }
}

impl SqliteRecord {
    async fn try_revoke(&self, user: &UserId, now_ms: i64) -> Result<Vec<ConnectionId>, Failure> {
        let mut db = self.write().await?;
        sqlx::query(
            "INSERT INTO revocations (user_id, revoked_at) VALUES (?1, ?2)
             ON CONFLICT (user_id) DO UPDATE SET revoked_at = max(revoked_at, excluded.revoked_at)",
        )
        .bind(user.as_str())
        .bind(now_ms)
        .execute(&mut *db)
        .await?;
        sqlx::query("DELETE FROM revocations WHERE revoked_at <= ?1")
            .bind(now_ms - REVOCATION_RETENTION_MS)
            .execute(&mut *db)
            .await?;
        sqlx::query("DELETE FROM tickets WHERE user_id = ?1 AND coalesce(token_issued_at <= ?2 / 1000, TRUE)")
            .bind(user.as_str())
            .bind(now_ms)
            .execute(&mut *db)
            .await?;
        let closed: Vec<String> = sqlx::query_scalar(
            "DELETE FROM connections WHERE user_id = ?1 AND coalesce(token_issued_at <= ?2 / 1000, TRUE) RETURNING id",
        )
        .bind(user.as_str())
        .bind(now_ms)
        .fetch_all(&mut *db)
        .await?;
        commit(db).await?;
        Ok(closed.into_iter().map(ConnectionId::new).collect())
    }

    async fn try_revoked_since(&self, since_ms: i64) -> Result<Vec<Revoked>, Failure> {
        let found = sqlx::query("SELECT user_id, revoked_at FROM revocations WHERE revoked_at >= ?1")
            .bind(since_ms)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let revoked = found.iter().map(|row| {
            Ok(Revoked { user: UserId::stored(row.try_get("user_id")?), at_ms: row.try_get("revoked_at")? })
        });
        revoked.collect()
    }
}
