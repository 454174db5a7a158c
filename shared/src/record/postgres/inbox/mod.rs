//! Inboxes in Postgres.

mod history;
mod retention;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Connection as _, Postgres, Row};
use uuid::Uuid;

use crate::clock::{At, Time};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::notification::{Content, Notification};
use crate::inbox::send::Due;
use crate::inbox::{
    Append, Appended, CHUNK_RECIPIENTS, Cancelled, Change, Changed, Changes, CurrentState, Delivery, FirstAnswer,
    Inbox, Listed, PUSH_GRACE_MS, Page, Position,
};
use crate::record::postgres::delivery::bisect::{self, Bisected};
use crate::record::postgres::rows::{self, Failure, at_ms, column};
use crate::record::postgres::timeout::InTime;
use crate::record::postgres::{PostgresRecord, repeated};

const APPEND: &str = concat!(include_str!("append.sql"), include_str!("../delivery/materialise.sql"));
const APPEND_AND_COLLAPSE: &str = concat!(include_str!("append.sql"), include_str!("../delivery/collapse.sql"));

/// What the following begin with. $1 user  $2 at
macro_rules! by_the_clock {
    () => {
        "WITH clock AS MATERIALIZED (
             SELECT coalesce($2, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
         ) "
    };
}

/// Where an inbox stands, for statements that join it with more. What has expired is gone, though no tombstone yet.
macro_rules! position {
    () => {
        "SELECT coalesce(i.epoch, e.epoch) AS epoch, coalesce(i.head, 0) AS head, coalesce(i.acked, 0) AS acked,
                coalesce(i.purged_through, 0) AS purged_through, coalesce(i.unread, 0) - gone.unread AS unread,
                gone.expired
           FROM epoch e LEFT JOIN inboxes i ON i.user_id = $1
          CROSS JOIN (
              SELECT count(*) AS expired, count(*) FILTER (WHERE read_at IS NULL) AS unread
                FROM notifications
               WHERE user_id = $1 AND deleted_at IS NULL AND expires_at <= (SELECT now_ms FROM clock)) AS gone"
    };
}

/// Notifications with what they say.
macro_rules! notifications {
    () => {
        r#"SELECT n."offset", n.version, n.id, n.created_at, n.read_at,
                  n.deleted_at IS NOT NULL OR coalesce(n.expires_at <= (SELECT now_ms FROM clock), false) AS is_gone,
                  s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key
             FROM notifications n JOIN sends s ON s.id = n.send_id "#
    };
}

/// One state of an inbox and some of its notifications; one row without `id` where there are none.
macro_rules! with_position {
    ($which:literal, $order:literal) => {
        concat!(
            by_the_clock!(),
            "SELECT * FROM (",
            position!(),
            ") AS p LEFT JOIN LATERAL (",
            notifications!(),
            $which,
            ") AS n ON true ORDER BY ",
            $order
        )
    };
}

#[async_trait]
impl Inbox for PostgresRecord {
    async fn append(&self, append: &Append<'_>, at: At) -> Result<Appended, StoreError> {
        let deliveries = match append.due {
            Due::Now => match repeated!(self.try_append(append, at)) {
                // One of the recipients does not go: the others do not wait for him.
                Err(StoreError::Refused(_)) => repeated!(self.try_append_apart(append, at))?,
                other => other?,
            },
            Due::After(_) | Due::At(_) => repeated!(self.try_schedule(append, at))?,
        };
        match deliveries {
            Some(deliveries) => Ok(Appended::Stored(deliveries)),
            // The insert waited for whoever was first, so this statement sees his row.
            None => {
                let known = self.first_answer(append.id).await?;
                known.map(Appended::Known).ok_or_else(|| rows::broken("sends.id"))
            }
        }
    }

    async fn first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, StoreError> {
        let row = sqlx::query("SELECT fingerprint, answer FROM sends WHERE id = $1")
            .bind(send.as_uuid())
            .fetch_optional(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::read_failed)?;
        row.map(|row| {
            let fingerprint: &[u8] = column(&row, "fingerprint")?;
            let fingerprint = fingerprint.try_into().map_err(|_| rows::broken("sends.fingerprint"))?;
            Ok(FirstAnswer { fingerprint, answer: column(&row, "answer")? })
        })
        .transpose()
    }

    async fn cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, StoreError> {
        repeated!(self.try_cancel(send, sender))
    }

    async fn position(&self, user: &UserId, at: At) -> Result<Position, StoreError> {
        let row = sqlx::query(concat!(by_the_clock!(), position!()))
            .bind(user.as_str())
            .bind(at_ms(at))
            .fetch_one(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::read_failed)?;
        rows::position(&row)
    }

    async fn list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, StoreError> {
        let found = sqlx::query(with_position!(
            r#"WHERE n.user_id = $1 AND n."offset" < $3 AND n.deleted_at IS NULL
                 AND coalesce(n.expires_at > (SELECT now_ms FROM clock), true)
                 AND ($4::text IS NULL OR n.type = $4) AND (NOT $5 OR n.read_at IS NULL)
               ORDER BY n."offset" DESC LIMIT $6"#,
            r#"n."offset" DESC"#
        ))
        .bind(user.as_str())
        .bind(at_ms(at))
        .bind(page.before.unwrap_or(i64::MAX))
        .bind(page.kind.as_deref())
        .bind(page.unread)
        // One more than asked for tells whether there are more.
        .bind(limit_beyond(page.limit))
        .fetch_all(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::read_failed)?;
        let (position, mut found) = split(found)?;
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let notifications: Result<Vec<Notification>, StoreError> =
            found.iter().map(|row| rows::notification(row, position.epoch)).collect();
        Ok(Listed { notifications: notifications?, more, position })
    }

    async fn find(&self, user: &UserId, id: NotificationId, at: At) -> Result<Option<Notification>, StoreError> {
        let found = sqlx::query(with_position!(
            "WHERE n.user_id = $1 AND n.id = $3 AND n.deleted_at IS NULL
               AND coalesce(n.expires_at > (SELECT now_ms FROM clock), true)",
            r#"n."offset""#
        ))
        .bind(user.as_str())
        .bind(at_ms(at))
        .bind(id.as_uuid())
        .fetch_all(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::read_failed)?;
        let (position, found) = split(found)?;
        found.first().map(|row| rows::notification(row, position.epoch)).transpose()
    }

    async fn changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        limit: usize,
        at: At,
    ) -> Result<Option<Changes>, StoreError> {
        let found = sqlx::query(with_position!(
            "WHERE n.user_id = $1 AND n.version > $3
               AND ($4 OR n.deleted_at IS NULL AND coalesce(n.expires_at > (SELECT now_ms FROM clock), true))
             ORDER BY n.version LIMIT $5",
            "n.version"
        ))
        .bind(user.as_str())
        .bind(at_ms(at))
        .bind(since.map_or(0, |since| since.offset))
        .bind(since.is_some())
        .bind(limit_beyond(limit))
        .fetch_all(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::read_failed)?;
        let (position, mut found) = split(found)?;
        if since.is_some_and(|since| !position.knows(since)) {
            return Ok(None);
        }
        let complete = found.len() <= limit;
        found.truncate(limit);
        let changes: Result<Vec<CurrentState>, StoreError> = found.iter().map(|row| present(row, &position)).collect();
        Ok(Some(Changes { changes: changes?, complete, position }))
    }

    async fn change(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, StoreError> {
        match self.try_change(&mut *self.connection().await?, user, change, at).await {
            Err(Failure::Lost) => repeated!(self.change_locked(user, change, at)),
            other => other.map_err(Failure::into_error),
        }
    }

    async fn acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, StoreError> {
        let settled = sqlx::query(
            "UPDATE inboxes SET acked = greatest(acked, $2)
              WHERE user_id = $1 AND epoch = $3 AND $2 BETWEEN purged_through AND head",
        )
        .bind(user.as_str())
        .bind(cursor.offset)
        .bind(cursor.epoch.0.cast_signed())
        .execute(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(|error| rows::write_failed(error).into_error())?;
        // Who never got anything has no row, and stands at offset 0 all the same.
        Ok(settled.rows_affected() > 0 || self.position(user, at).await?.knows(cursor))
    }
}

impl PostgresRecord {
    /// `None` where a send of that id is stored already.
    async fn try_append(&self, append: &Append<'_>, at: At) -> Result<Option<Vec<Delivery>>, Failure> {
        let now = &append.recipients[..append.recipients.len().min(CHUNK_RECIPIENTS)];
        let content = &append.content;
        let mut connection = self.connection().await?;
        if content.collapse_key.is_none() {
            return self.append_with(APPEND, &mut connection, append, at).await;
        }
        let mut transaction = connection.begin().in_time().await.map_err(rows::write_failed)?;
        lock_heads(&mut transaction, now).await?;
        let stored = self.append_with(APPEND_AND_COLLAPSE, &mut transaction, append, at).await?;
        // Where it was stored before, not even an inbox is made.
        if stored.is_some() {
            transaction.commit().in_time().await.map_err(rows::write_failed)?;
        }
        Ok(stored)
    }

    async fn append_with(
        &self,
        sql: &'static str,
        db: &mut PgConnection,
        append: &Append<'_>,
        at: At,
    ) -> Result<Option<Vec<Delivery>>, Failure> {
        let (now, later) = append.recipients.split_at(append.recipients.len().min(CHUNK_RECIPIENTS));
        let chunks: Vec<String> = later.chunks(CHUNK_RECIPIENTS).map(json_list).collect();
        let content = &append.content;
        let rows = materialising(sql, append.id, content, now, at)
            .bind(append.sender.as_str())
            .bind(append.fingerprint.as_slice())
            .bind(append.answer)
            .bind(&content.title)
            .bind(content.body.as_deref())
            .bind(content.data.get())
            .bind(content.action_url.as_deref())
            .bind(content.priority.name())
            .bind(append.retention_ms)
            .bind(chunks)
            .bind(content.expires_at.map(|end| end.0))
            .bind(content.collapse_key.as_deref())
            .fetch_all(db)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        // Every recipient of a new send gets a row, so no row means that it is none.
        if rows.is_empty() { Ok(None) } else { Ok(Some(deliveries(&rows, |_| Ok(Arc::clone(content)))?)) }
    }

    /// The append of a send of which some recipients' rows are refused: these wait in a chunk, and the drain sets them
    /// aside.
    async fn try_append_apart(&self, append: &Append<'_>, at: At) -> Result<Option<Vec<Delivery>>, Failure> {
        let (now, later) = append.recipients.split_at(append.recipients.len().min(CHUNK_RECIPIENTS));
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().in_time().await.map_err(rows::write_failed)?;
        if !schedule(&mut transaction, append, later, at).await? {
            return Ok(None);
        }
        let Bisected { deliveries, refused } =
            bisect::materialise(&mut transaction, append.id, &append.content, now.to_vec(), at).await?;
        bisect::start(&mut transaction, append.id, &refused, at).await?;
        transaction.commit().in_time().await.map_err(rows::write_failed)?;
        Ok(Some(deliveries))
    }

    /// Nothing to push; `None` where a send of that id is stored already.
    async fn try_schedule(&self, append: &Append<'_>, at: At) -> Result<Option<Vec<Delivery>>, Failure> {
        let stored = schedule(&mut *self.connection().await?, append, append.recipients, at).await?;
        Ok(stored.then(Vec::new))
    }

    /// One statement; lost where the send changed under it.
    async fn try_cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, Failure> {
        let found = sqlx::query(include_str!("cancel.sql"))
            .bind(send.as_uuid())
            .bind(sender.as_str())
            .fetch_optional(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        let Some(found) = found else { return Ok(Cancelled::Unknown) };
        match (column(&found, "state")?, column(&found, "is_cancelled")?) {
            (_, true) | ("cancelled", _) => Ok(Cancelled::Done),
            ("scheduled", _) => Err(Failure::Lost),
            _ => Ok(Cancelled::Started),
        }
    }

    /// The change of one who lost: with the inbox's row locked before the statement that reads the rows, nobody else
    /// can be faster.
    async fn change_locked(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().in_time().await.map_err(rows::write_failed)?;
        sqlx::query("SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE")
            .bind(user.as_str())
            .execute(&mut *transaction)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        let changed = self.try_change(&mut transaction, user, change, at).await?;
        transaction.commit().in_time().await.map_err(rows::write_failed)?;
        Ok(changed)
    }

    /// One statement; lost where the inbox changed under it.
    async fn try_change(
        &self,
        db: &mut PgConnection,
        user: &UserId,
        change: &Change,
        at: At,
    ) -> Result<Option<Changed>, Failure> {
        let (kind, ids, of_type, before) = match change {
            Change::Read(ids) => ("read", Some(ids), None, None),
            Change::Unread(ids) => ("unread", Some(ids), None, None),
            Change::Delete(ids) => ("delete", Some(ids), None, None),
            Change::ReadAll { kind, before } => ("read", None, kind.as_deref(), *before),
        };
        let ids: Option<Vec<Uuid>> = ids.map(|ids| ids.iter().map(NotificationId::as_uuid).collect());
        let found = sqlx::query(include_str!("change.sql"))
            .bind(at_ms(at))
            .bind(user.as_str())
            .bind(kind)
            .bind(ids)
            .bind(of_type)
            .bind(before.map(|before| before.epoch.0.cast_signed()))
            .bind(before.map(|before| before.offset))
            .fetch_all(db)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        let first = found.first().ok_or_else(|| rows::broken("epoch"))?;
        let position = rows::position(first)?;
        if before.is_some_and(|before| !position.knows(before)) {
            return Ok(None);
        }
        let ids: Vec<Uuid> = column::<Option<Vec<Uuid>>>(first, "ids")?.unwrap_or_default();
        let new_head: Option<i64> = column(first, "new_head")?;
        if !ids.is_empty() && new_head.is_none() {
            return Err(Failure::Lost);
        }
        let connections: Result<Vec<_>, StoreError> = found.iter().map(|row| rows::connection(row, "id")).collect();
        Ok(Some(Changed {
            prev: position.cursor(),
            cursor: position.cursor_at(new_head.unwrap_or(position.head)),
            ids: ids.into_iter().map(NotificationId::from_uuid).collect(),
            known: usize::try_from(column::<i64>(first, "known")?).map_err(|_| rows::broken("a count"))?,
            unread: column::<Option<i64>>(first, "new_unread")?.unwrap_or(position.unread),
            connections: connections?.into_iter().flatten().collect(),
        }))
    }
}

/// Stores a send with all these recipients as chunks; false where one of that id is stored already.
async fn schedule(db: &mut PgConnection, append: &Append<'_>, to: &[UserId], at: At) -> Result<bool, Failure> {
    let chunks: Vec<String> = to.chunks(CHUNK_RECIPIENTS).map(json_list).collect();
    let (delay_ms, due_ms) = match append.due {
        Due::Now => (Some(0), None),
        Due::After(delay_ms) => (Some(delay_ms), None),
        Due::At(at_ms) => (None, Some(at_ms)),
    };
    let content = &append.content;
    let stored = sqlx::query(include_str!("schedule.sql"))
        .bind(at_ms(at))
        .bind(append.id.as_uuid())
        .bind(append.sender.as_str())
        .bind(append.fingerprint.as_slice())
        .bind(append.answer)
        .bind(&content.kind)
        .bind(&content.title)
        .bind(content.body.as_deref())
        .bind(content.data.get())
        .bind(content.action_url.as_deref())
        .bind(content.priority.name())
        .bind(append.retention_ms)
        .bind(chunks)
        .bind(delay_ms)
        .bind(due_ms)
        .bind(content.expires_at.map(|end| end.0))
        .bind(content.collapse_key.as_deref())
        .fetch_optional(db)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
    Ok(stored.is_some())
}

/// Locks the heads of these users' inboxes, in the order of the users, and makes those that are missing: whoever reads
/// their rows in a later statement of the transaction sees them as they stay.
pub(crate) async fn lock_heads(db: &mut PgConnection, users: &[UserId]) -> Result<(), Failure> {
    let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
    sqlx::query(
        r#"INSERT INTO inboxes AS inbox (user_id, epoch)
           SELECT user_id, epoch FROM unnest($1::text[]) AS users (user_id), epoch ORDER BY user_id COLLATE "C"
           ON CONFLICT (user_id) DO UPDATE SET head = inbox.head"#,
    )
    .bind(users)
    .execute(db)
    .in_time()
    .await
    .map_err(rows::write_failed)?;
    Ok(())
}

/// The parameters that every statement ending in `materialise.sql` or `collapse.sql` begins with.
pub(crate) fn materialising<'q>(
    sql: &'static str,
    send: SendId,
    content: &'q Content,
    users: &[UserId],
    at: At,
) -> Query<'q, Postgres, PgArguments> {
    let ids: Vec<Uuid> = users.iter().map(|user| NotificationId::of(send, user).as_uuid()).collect();
    let users: Vec<String> = users.iter().map(|user| user.as_str().to_owned()).collect();
    sqlx::query(sql).bind(at_ms(at)).bind(users).bind(ids).bind(&content.kind).bind(PUSH_GRACE_MS).bind(send.as_uuid())
}

/// What these return: a row for each connection, or one for a user without any.
pub(crate) fn deliveries(
    found: &[PgRow],
    content: impl Fn(&PgRow) -> Result<Arc<Content>, StoreError>,
) -> Result<Vec<Delivery>, StoreError> {
    let mut deliveries = Vec::new();
    for row in found {
        let Some(connection) = rows::connection(row, "id")? else { continue };
        let user = connection.user.clone();
        let id = NotificationId::from_uuid(column(row, "notification_id")?);
        let begin = || {
            let notification = Notification {
                id,
                content: content(row)?,
                cursor: Cursor { epoch: rows::epoch(row)?, offset: column(row, "head")? },
                created_at: Time(column(row, "now_ms")?),
                read_at: None,
            };
            let replaces: Option<Vec<Uuid>> = column(row, "replaces")?;
            Ok(Delivery {
                user: user.clone(),
                fence_ms: notification.created_at.0 + PUSH_GRACE_MS,
                notification,
                unread: column(row, "unread")?,
                replaces: replaces.unwrap_or_default().into_iter().map(NotificationId::from_uuid).collect(),
                connections: Vec::new(),
                attempt: 0,
            })
        };
        rows::gather(&mut deliveries, connection, begin, |delivery| delivery.notification.id == id)?;
    }
    Ok(deliveries)
}

fn present(row: &PgRow, position: &Position) -> Result<CurrentState, StoreError> {
    let version = column(row, "version")?;
    if column(row, "is_gone")? {
        Ok(CurrentState::Deleted { version, id: NotificationId::from_uuid(column(row, "id")?) })
    } else {
        Ok(CurrentState::Present { version, notification: rows::notification(row, position.epoch)? })
    }
}

/// The position, which every row repeats, and the rows that have a notification.
fn split(found: Vec<PgRow>) -> Result<(Position, Vec<PgRow>), StoreError> {
    let position = rows::position(found.first().ok_or_else(|| rows::broken("epoch"))?)?;
    let has_notification = |row: &PgRow| row.try_get::<Option<Uuid>, _>("id").is_ok_and(|id| id.is_some());
    Ok((position, found.into_iter().filter(has_notification).collect()))
}

pub(crate) fn json_list(users: &[UserId]) -> String {
    serde_json::to_string(users).expect("a list of strings is JSON")
}

fn limit_beyond(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1)
}
