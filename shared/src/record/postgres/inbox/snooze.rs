//! Snoozes in Postgres.

use async_trait::async_trait;

use crate::clock::{At, Time};
use crate::delivery::PUSH_GRACE_MS;
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::Changed;
use crate::inbox::snooze::{Snoozed, Snoozes, Unsnoozed};
use crate::record::postgres::delivery::due::add_delivery;
use crate::record::postgres::delivery::materialise::first_web_push;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::inbox::lock_inboxes;
use crate::record::postgres::rows::{self, at_ms, broken, column, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run, begin, commit};

#[async_trait]
impl Snoozes for PostgresRecord {
    async fn snooze(&self, user: &UserId, id: NotificationId, until: Time, at: At) -> Result<Snoozed, StoreError> {
        match try_snooze(&mut *self.connection().await?, user, id, until, at).await {
            Err(Failure::Lost) => retried!(self.try_snooze_locked(user, id, until, at)),
            other => Ok(other?),
        }
    }

    async fn unsnooze(&self, limit: usize, at: At) -> Result<Unsnoozed, StoreError> {
        retried!(self.try_unsnooze(limit, at))
    }
}

impl PostgresRecord {
    /// As a change after it lost once.
    async fn try_snooze_locked(
        &self,
        user: &UserId,
        id: NotificationId,
        until: Time,
        at: At,
    ) -> Result<Snoozed, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        lock_inboxes(&mut transaction, &[user.as_str().to_owned()]).await?;
        let snoozed = try_snooze(&mut transaction, user, id, until, at).await?;
        commit(transaction).await?;
        Ok(snoozed)
    }

    /// A single statement if no snooze is over. Otherwise the inboxes are locked before the statement that reads their rows.
    async fn try_unsnooze(&self, max_rows: usize, at: At) -> Result<Unsnoozed, Failure> {
        let mut connection = self.connection().await?;
        let found = sqlx::query(sql!(
            (r#" SELECT DISTINCT user_id
                FROM (SELECT user_id FROM notifications
                       WHERE snoozed_until <= (SELECT now_ms FROM clock)
                       ORDER BY snoozed_until, user_id, "offset" LIMIT $2) AS first"#)
        ))
        .bind(at_ms(at))
        .bind(limit(max_rows))
        .read_all(&mut connection)
        .await?;
        let users: Vec<String> = found.iter().map(|row| column(row, "user_id")).collect::<Result<_, _>>()?;
        if users.is_empty() {
            return Ok(Unsnoozed::default());
        }
        let mut transaction = begin(&mut connection).await?;
        lock_inboxes(&mut transaction, &users).await?;
        let found = sqlx::query(sql!("unsnooze.sql", "../delivery/rings.sql", "unsnooze_rows.sql"))
            .bind(at_ms(at))
            .bind(&users)
            .bind(limit(max_rows))
            .bind(PUSH_GRACE_MS)
            .all(&mut transaction)
            .await?;
        commit(transaction).await?;
        let mut deliveries = Vec::new();
        for row in &found {
            // One that cannot be read is left to the drain, which dead-letters it once it is due.
            if let Some(offset) = column(row, "offset")?
                && let Err(error) = add_delivery(&mut deliveries, row, offset)
            {
                tracing::warn!(%error, "a notification that arrived anew cannot be read");
            }
        }
        let snoozes = found.first().map_or(Ok(0), |row| rows::count(row, "snoozes"))?;
        let snoozes = usize::try_from(snoozes).unwrap_or(usize::MAX);
        Ok(Unsnoozed { snoozes, deliveries, web_push_at_ms: first_web_push(&found)? })
    }
}

/// A single statement; it loses if the inbox changes concurrently.
async fn try_snooze(
    db: &mut Db<'_>,
    user: &UserId,
    id: NotificationId,
    until: Time,
    at: At,
) -> Result<Snoozed, Failure> {
    let query = sqlx::query(sql!("snooze.sql")).bind(at_ms(at)).bind(user.as_str()).bind(id.as_uuid()).bind(until.0);
    let found = query.all(db).await?;
    let first = found.first().ok_or_else(|| broken("epoch"))?;
    match column::<Option<bool>>(first, "is_kept")? {
        None => return Ok(Snoozed::Unknown),
        Some(false) => return Ok(Snoozed::TooLate),
        Some(true) => {}
    }
    let position = rows::position(first)?;
    let new_head: Option<i64> = column(first, "new_head")?;
    if new_head.is_none() && !column::<bool>(first, "is_moved")? {
        return Err(Failure::Lost);
    }
    let connections: Result<Vec<_>, StoreError> = found.iter().map(|row| rows::connection(row, "id")).collect();
    Ok(Snoozed::Done(Changed {
        prev: position.cursor(),
        cursor: position.cursor_at(new_head.unwrap_or(position.head)),
        ids: new_head.map(|_| id).into_iter().collect(),
        known: 1,
        unread: column::<Option<i64>>(first, "new_unread")?.unwrap_or(position.unread),
        connections: connections?.into_iter().flatten().collect(),
        web_push_is_due: column(first, "web_push_is_due")?,
    }))
}
