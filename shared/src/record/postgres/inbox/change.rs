//! Changing an inbox in Postgres: in one statement, which does nothing if the head has moved concurrently.

use uuid::Uuid;

use crate::clock::At;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::{Change, Changed};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::inbox::lock_inboxes;
use crate::record::postgres::rows::{self, at_ms, broken, column};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run, begin, commit};

impl PostgresRecord {
    pub(super) async fn change_or_lock(
        &self,
        user: &UserId,
        change: &Change,
        at: At,
    ) -> Result<Option<Changed>, StoreError> {
        match try_change(&mut *self.connection().await?, user, change, at).await {
            Err(Failure::Lost) => retried!(self.try_change_locked(user, change, at)),
            other => Ok(other?),
        }
    }

    /// The change after it lost once: the inbox is locked before the statement that reads its rows, so it cannot lose
    /// against another change again.
    async fn try_change_locked(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        lock_inboxes(&mut transaction, &[user.as_str().to_owned()]).await?;
        let changed = try_change(&mut transaction, user, change, at).await?;
        commit(transaction).await?;
        Ok(changed)
    }

    pub(super) async fn try_acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, Failure> {
        // A device has shown what is settled, so that Web Push need not.
        let query = sqlx::query(
            r#"WITH acknowledged AS (
                   UPDATE inboxes SET acked = greatest(acked, $2)
                    WHERE user_id = $1 AND epoch = $3 AND $2 BETWEEN purged_through AND head
                   RETURNING user_id
               ),
               settled AS (
                   UPDATE notifications AS n SET web_push_at = NULL
                     FROM acknowledged
                    WHERE n.user_id = acknowledged.user_id AND n."offset" <= $2 AND n.web_push_at IS NOT NULL
                      AND n.web_pushed_at IS NULL AND n.silent IS NOT TRUE
               )
               SELECT FROM acknowledged"#,
        )
        .bind(user.as_str())
        .bind(cursor.offset)
        .bind(cursor.epoch.0.cast_signed());
        let is_settled = query.optional(&mut *self.connection().await?).await?.is_some();
        // An inbox that never received anything has no row, and is at offset 0 all the same.
        Ok(is_settled || self.try_position(user, at).await?.knows(cursor))
    }
}

/// A single statement; it loses if the inbox changes concurrently.
async fn try_change(db: &mut Db<'_>, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, Failure> {
    let (kind, ids, of_type, before) = match change {
        Change::Read(ids) => ("read", Some(ids), None, None),
        Change::Unread(ids) => ("unread", Some(ids), None, None),
        Change::Delete(ids) => ("delete", Some(ids), None, None),
        Change::ReadAll { kind, before } => ("read", None, kind.as_deref(), *before),
    };
    let query = sqlx::query(sql!("change.sql"))
        .bind(at_ms(at))
        .bind(user.as_str())
        .bind(kind)
        .bind(ids.map(|ids| ids.iter().map(NotificationId::as_uuid).collect::<Vec<Uuid>>()))
        .bind(of_type)
        .bind(before.map(|before| before.epoch.0.cast_signed()))
        .bind(before.map(|before| before.offset));
    let found = query.all(db).await?;
    let first = found.first().ok_or_else(|| broken("epoch"))?;
    let position = rows::position(first)?;
    if before.is_some_and(|before| !position.knows(before)) {
        return Ok(None);
    }
    let ids: Vec<Uuid> = column::<Option<Vec<Uuid>>>(first, "ids")?.unwrap_or_default();
    let new_head: Option<i64> = column(first, "new_head")?;
    // Without a change there was no lock, and a snooze that was to be deleted may have ended meanwhile.
    let has_lost = if ids.is_empty() { column(first, "misses_snoozes")? } else { new_head.is_none() };
    if has_lost {
        return Err(Failure::Lost);
    }
    let connections: Result<Vec<_>, StoreError> = found.iter().map(|row| rows::connection(row, "id")).collect();
    Ok(Some(Changed {
        prev: position.cursor(),
        cursor: position.cursor_at(new_head.unwrap_or(position.head)),
        ids: ids.into_iter().map(NotificationId::from_uuid).collect(),
        known: usize::try_from(column::<i64>(first, "known")?).map_err(|_| broken("a count"))?,
        unread: column::<Option<i64>>(first, "new_unread")?.unwrap_or(position.unread),
        connections: connections?.into_iter().flatten().collect(),
        web_push_is_due: column(first, "web_push_is_due")?,
    }))
}
