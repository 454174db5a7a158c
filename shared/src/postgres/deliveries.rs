//! What still has to be materialised or pushed, in Postgres.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection as _, Postgres, Transaction};

use super::held::InTime;
use super::inbox::{deliveries, lock_heads, materialising};
use super::rows::{self, Failure, at_ms, column, count};
use super::{PostgresRecord, apart, repeated};
use crate::clock::At;
use crate::deliveries::{Backlog, Deliveries, Key, Taken};
use crate::error::StoreError;
use crate::ids::{SendId, UserId};
use crate::inbox::{Changed, Delivery};
use crate::notification::Content;

const CHUNK: &str = concat!(include_str!("chunk.sql"), include_str!("materialise.sql"));
const CHUNK_AND_COLLAPSE: &str = concat!(include_str!("chunk.sql"), include_str!("collapse.sql"));

#[async_trait]
impl Deliveries for PostgresRecord {
    async fn materialise_next(&self, at: At) -> Result<Option<Vec<Delivery>>, StoreError> {
        match repeated!(self.try_materialise_next(Way::AtOnce, at)) {
            // Something in the chunk does not go: which, is found out with more statements.
            Err(StoreError::Refused(_) | StoreError::Broken(_)) => {
                repeated!(self.try_materialise_next(Way::Apart, at))
            }
            other => other,
        }
    }

    async fn take_due(&self, limit: usize, at: At) -> Result<Taken, StoreError> {
        self.take(limit, at).await
    }

    async fn take(&self, keys: &[Key<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        self.take_named(keys, at).await
    }

    async fn postpone(&self, rows: &[(Key<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, StoreError> {
        repeated!(self.try_postpone(rows, at))
    }

    async fn mark_offered(&self, offered: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        repeated!(self.try_mark_offered(offered, at))
    }

    async fn mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        self.resynced(users, at).await
    }

    async fn expire(&self, limit: usize, at: At) -> Result<Vec<(UserId, Changed)>, StoreError> {
        repeated!(self.try_expire(limit, at))
    }

    async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar(
            "SELECT least((SELECT min(due_at) FROM send_chunks WHERE state = 'waiting'),
                          (SELECT min(push_at) FROM notifications WHERE push_at IS NOT NULL),
                          (SELECT min(expires_at) FROM notifications
                            WHERE expires_at IS NOT NULL AND deleted_at IS NULL))",
        )
        .fetch_one(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::read_failed)
    }

    async fn backlog(&self, at: At) -> Result<Backlog, StoreError> {
        let row = sqlx::query(include_str!("backlog.sql"))
            .bind(at_ms(at))
            .fetch_one(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::read_failed)?;
        Ok(Backlog {
            waiting: count(&row, "waiting")?,
            delayed: count(&row, "delayed")?,
            dead_letters: count(&row, "dead_letters")?,
            oldest_ms: count(&row, "oldest_ms")?,
        })
    }
}

/// How a chunk is materialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In one statement, which fails where one of its recipients does not go.
    AtOnce,
    /// So that nobody holds up the others.
    Apart,
}

impl PostgresRecord {
    async fn try_materialise_next(&self, way: Way, at: At) -> Result<Option<Vec<Delivery>>, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().in_time().await.map_err(rows::write_failed)?;
        // Held until the commit; whoever else looks takes another one.
        let chunk = sqlx::query(
            "WITH clock AS MATERIALIZED (
                 SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
             )
             SELECT c.send_id, c.n, c.recipients, s.state, s.type, s.title, s.body, s.data, s.action_url, s.priority,
                    s.expires_at, s.collapse_key, coalesce(s.expires_at <= (SELECT now_ms FROM clock), false) AS is_expired
               FROM send_chunks c JOIN sends s ON s.id = c.send_id
              WHERE c.state = 'waiting' AND c.due_at <= (SELECT now_ms FROM clock)
              ORDER BY c.due_at, c.send_id, c.n LIMIT 1
                FOR UPDATE OF c SKIP LOCKED",
        )
        .bind(at_ms(at))
        .fetch_optional(&mut *transaction)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
        let Some(chunk) = chunk else { return Ok(None) };
        let send = SendId::from_uuid(column(&chunk, "send_id")?);
        let n: i32 = column(&chunk, "n")?;
        let (recipients, content) = match (recipients(&chunk), rows::content(&chunk)) {
            (Ok(recipients), Ok(content)) => (recipients, Arc::new(content)),
            (recipients, _) if way == Way::Apart => {
                let recipients = recipients.map_or(1, |recipients| recipients.len());
                apart::set_chunk_aside(&mut transaction, send, n, recipients, at).await?;
                transaction.commit().in_time().await.map_err(rows::write_failed)?;
                return Ok(Some(Vec::new()));
            }
            (Err(error), _) | (_, Err(error)) => return Err(let_go(transaction, error.into()).await),
        };
        if column(&chunk, "is_expired")? {
            sqlx::query("UPDATE send_chunks SET state = 'expired' WHERE send_id = $1 AND n = $2")
                .bind(send.as_uuid())
                .bind(n)
                .execute(&mut *transaction)
                .in_time()
                .await
                .map_err(rows::write_failed)?;
            transaction.commit().in_time().await.map_err(rows::write_failed)?;
            return Ok(Some(Vec::new()));
        }
        // What has started stays so, and needs no lock: its chunks do not wait for each other.
        if column::<&str>(&chunk, "state")? != "started" {
            let started = sqlx::query("UPDATE sends SET state = 'started' WHERE id = $1 AND state <> 'cancelled'")
                .bind(send.as_uuid())
                .execute(&mut *transaction)
                .in_time()
                .await
                .map_err(rows::write_failed)?;
            if started.rows_affected() == 0 {
                // Whoever cancels takes the chunks with it, so this was done by hand. It must not come again.
                sqlx::query("UPDATE send_chunks SET state = 'cancelled' WHERE send_id = $1 AND state = 'waiting'")
                    .bind(send.as_uuid())
                    .execute(&mut *transaction)
                    .in_time()
                    .await
                    .map_err(rows::write_failed)?;
                transaction.commit().in_time().await.map_err(rows::write_failed)?;
                return Err(Failure::Lost);
            }
        }
        let deliveries = match way {
            Way::AtOnce => match materialise_at_once(&mut transaction, send, n, &content, &recipients, at).await {
                Ok(deliveries) => deliveries,
                Err(failure) => return Err(let_go(transaction, failure).await),
            },
            Way::Apart => apart::materialise_chunk(&mut transaction, send, n, &content, recipients, at).await?,
        };
        transaction.commit().in_time().await.map_err(rows::write_failed)?;
        Ok(Some(deliveries))
    }

    async fn try_mark_offered(&self, offered: &[(&UserId, i64)], at: At) -> Result<(), Failure> {
        let users: Vec<String> = offered.iter().map(|(user, _)| user.as_str().to_owned()).collect();
        let offsets: Vec<i64> = offered.iter().map(|(_, offset)| *offset).collect();
        sqlx::query(
            r#"UPDATE notifications AS n
                  SET push_at = NULL,
                      offered_at = coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
                 FROM unnest($2::text[], $3::bigint[]) AS offered (user_id, "offset")
                WHERE n.user_id = offered.user_id AND n."offset" = offered."offset""#,
        )
        .bind(at_ms(at))
        .bind(users)
        .bind(offsets)
        .execute(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
        Ok(())
    }
}

/// Materialises a chunk that this transaction holds in one statement, before which the heads are locked where something
/// may be replaced.
async fn materialise_at_once(
    db: &mut PgConnection,
    send: SendId,
    n: i32,
    content: &Arc<Content>,
    recipients: &[UserId],
    at: At,
) -> Result<Vec<Delivery>, Failure> {
    let sql = if content.collapse_key.is_some() {
        lock_heads(db, recipients).await?;
        CHUNK_AND_COLLAPSE
    } else {
        CHUNK
    };
    let found = materialising(sql, send, content, recipients, at).bind(n).fetch_all(db).in_time().await;
    Ok(deliveries(&found.map_err(rows::write_failed)?, content)?)
}

/// Lets go of the chunk before somebody looks for it again: a transaction that is dropped ends a little later.
async fn let_go(transaction: Transaction<'_, Postgres>, failure: Failure) -> Failure {
    if let Err(error) = transaction.rollback().in_time().await {
        tracing::debug!(%error, "it has ended by itself");
    }
    failure
}

fn recipients(chunk: &PgRow) -> Result<Vec<UserId>, StoreError> {
    let recipients: Vec<String> =
        serde_json::from_str(column(chunk, "recipients")?).map_err(|_| rows::broken("send_chunks.recipients"))?;
    Ok(recipients.into_iter().map(UserId::stored).collect())
}
