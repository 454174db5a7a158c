//! Revocations in Postgres.

use async_trait::async_trait;

use crate::auth::{REVOCATION_RETENTION_MS, Revocations, Revoked};
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, column};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Run, begin, commit};

#[async_trait]
impl Revocations for PostgresRecord {
    async fn revoke(&self, user: &UserId, at: At) -> Result<Vec<ConnectionId>, StoreError> {
        retried!(self.try_revoke(user, at))
    }

    async fn revoked_since(&self, since_ms: i64) -> Result<Vec<Revoked>, StoreError> {
        Ok(self.try_revoked_since(since_ms).await?)
    }
}

impl PostgresRecord {
    /// The statement sees the tickets and connections of before; those that come into being meanwhile are refused when they
    /// are used. Subscriptions are not, and so wait.
    async fn try_revoke(&self, user: &UserId, at: At) -> Result<Vec<ConnectionId>, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(user.as_str());
        lock.run(&mut transaction).await?;
        let query = sqlx::query(sql!(
            (", revoked AS (
                 INSERT INTO revocations AS r (user_id, revoked_at) SELECT $2, now_ms FROM clock
                 ON CONFLICT (user_id) DO UPDATE SET revoked_at = greatest(r.revoked_at, excluded.revoked_at)
             ),
             -- Not the row of this user, which the statement changes already.
             old AS (
                 DELETE FROM revocations
                  WHERE revoked_at <= (SELECT now_ms FROM clock) - $3::bigint AND user_id <> $2
             ),
             -- Reads all tickets, which are few, since they live for seconds. An index by user would make
             -- each of them dearer by 40 %, for rare calls.
             spent AS (
                 DELETE FROM tickets
                  WHERE user_id = $2 AND coalesce(token_issued_at <= (SELECT now_ms FROM clock) / 1000, true)
             ),
             -- Who holds a revoked token must not be told of what arrives from now on.
             subscriptions AS (
                 DELETE FROM push_subscriptions WHERE user_id = $2
             )
             DELETE FROM connections
              WHERE user_id = $2 AND coalesce(token_issued_at <= (SELECT now_ms FROM clock) / 1000, true)
             RETURNING id")
        ));
        let query = query.bind(at_ms(at)).bind(user.as_str()).bind(REVOCATION_RETENTION_MS);
        let closed = query.all(&mut transaction).await?;
        commit(transaction).await?;
        closed.iter().map(|row| Ok(ConnectionId::new(column::<String>(row, "id")?))).collect()
    }

    async fn try_revoked_since(&self, since_ms: i64) -> Result<Vec<Revoked>, Failure> {
        let query = sqlx::query("SELECT user_id, revoked_at FROM revocations WHERE revoked_at >= $1").bind(since_ms);
        let found = query.read_all(&mut *self.connection().await?).await?;
        let revoked = found.iter().map(|row| {
            Ok(Revoked { user: UserId::stored(column(row, "user_id")?), at_ms: column(row, "revoked_at")? })
        });
        revoked.collect()
    }
}
