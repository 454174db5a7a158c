//! Inboxes in SQLite: appending, and every read.

mod change;
mod history;
mod retention;

use async_trait::async_trait;
use sqlx::Row;

use crate::clock::At;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::notification::Notification;
use crate::inbox::send::Due;
use crate::inbox::{
    Append, Appended, CHUNK_RECIPIENTS, Cancelled, Change, Changed, Changes, CurrentState, FirstAnswer, Inbox, Listed,
    Page, Position,
};
use crate::record::sqlite::delivery::bisect::{self, Strategy};
use crate::record::sqlite::delivery::materialise::{Arriving, materialise};
use crate::record::sqlite::rows::{self, failed};
use crate::record::sqlite::{Connected, SqliteRecord, commit};

/// The columns of [`rows::notification`], and where they come from. `?2` is the present time.
macro_rules! select_notifications {
    ($rest:literal) => {
        concat!(
            r#"SELECT n.user_id, n."offset", n.version, n.id, n.created_at, n.read_at, n.push_attempts,
                      n.deleted_at IS NOT NULL OR coalesce(n.expires_at <= ?2, FALSE) AS is_gone,
                      s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key, i.unread
                 FROM notifications n JOIN sends s ON s.id = n.send_id JOIN inboxes i ON i.user_id = n.user_id "#,
            $rest
        )
    };
}
pub(crate) use select_notifications;

#[async_trait]
impl Inbox for SqliteRecord {
    async fn append(&self, append: &Append<'_>, at: At) -> Result<Appended, StoreError> {
        match self.append_by(Strategy::Together, append, at).await {
            // One of the recipients does not go: the others do not wait for him.
            Err(StoreError::Refused(_)) => self.append_by(Strategy::Bisect, append, at).await,
            other => other,
        }
    }

    async fn first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, StoreError> {
        first_answer(&mut *self.readers.acquire().await.map_err(failed)?, send).await
    }

    async fn cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, StoreError> {
        let mut db = self.write().await?;
        let cancelled =
            sqlx::query("UPDATE sends SET state = 'cancelled' WHERE id = ?1 AND sender = ?2 AND state = 'scheduled'")
                .bind(send.as_bytes().as_slice())
                .bind(sender.as_str())
                .execute(&mut *db)
                .await
                .map_err(failed)?;
        if cancelled.rows_affected() == 0 {
            let state: Option<String> = sqlx::query_scalar("SELECT state FROM sends WHERE id = ?1 AND sender = ?2")
                .bind(send.as_bytes().as_slice())
                .bind(sender.as_str())
                .fetch_optional(&mut *db)
                .await
                .map_err(failed)?;
            return match state.as_deref() {
                Some("cancelled") => Ok(Cancelled::Done),
                Some(_) => Ok(Cancelled::Started),
                None => Ok(Cancelled::Unknown),
            };
        }
        sqlx::query("UPDATE send_chunks SET state = 'cancelled' WHERE send_id = ?1")
            .bind(send.as_bytes().as_slice())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
        commit(db).await?;
        Ok(Cancelled::Done)
    }

    async fn position(&self, user: &UserId, at: At) -> Result<Position, StoreError> {
        rows::position(&mut *self.readers.acquire().await.map_err(failed)?, user, at.process_ms()).await
    }

    async fn list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, StoreError> {
        let now_ms = at.process_ms();
        let mut db = self.read().await?;
        let position = rows::position(&mut db, user, now_ms).await?;
        let mut found = sqlx::query(select_notifications!(
            r#"WHERE n.user_id = ?1 AND n."offset" < ?3 AND NOT is_gone
                 AND (?4 IS NULL OR n.type = ?4) AND (NOT ?5 OR n.read_at IS NULL)
               ORDER BY n."offset" DESC LIMIT ?6"#
        ))
        .bind(user.as_str())
        .bind(now_ms)
        .bind(page.before.unwrap_or(i64::MAX))
        .bind(page.kind.as_deref())
        .bind(page.unread)
        // One more than asked for tells whether there are more.
        .bind(limit_beyond(page.limit))
        .fetch_all(&mut *db)
        .await
        .map_err(failed)?;
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let notifications: Result<Vec<Notification>, StoreError> =
            found.iter().map(|row| rows::notification(row, position.epoch)).collect();
        Ok(Listed { notifications: notifications?, more, position })
    }

    async fn find(&self, user: &UserId, id: NotificationId, at: At) -> Result<Option<Notification>, StoreError> {
        let row = sqlx::query(select_notifications!("WHERE n.user_id = ?1 AND n.id = ?3 AND NOT is_gone"))
            .bind(user.as_str())
            .bind(at.process_ms())
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        row.map(|row| rows::notification(&row, self.epoch)).transpose()
    }

    async fn changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        limit: usize,
        at: At,
    ) -> Result<Option<Changes>, StoreError> {
        let now_ms = at.process_ms();
        let mut db = self.read().await?;
        let position = rows::position(&mut db, user, now_ms).await?;
        if since.is_some_and(|since| !position.knows(since)) {
            return Ok(None);
        }
        let mut found = sqlx::query(select_notifications!(
            "WHERE n.user_id = ?1 AND n.version > ?3 AND (?4 OR NOT is_gone) ORDER BY n.version LIMIT ?5"
        ))
        .bind(user.as_str())
        .bind(now_ms)
        .bind(since.map_or(0, |since| since.offset))
        .bind(since.is_some())
        .bind(limit_beyond(limit))
        .fetch_all(&mut *db)
        .await
        .map_err(failed)?;
        let complete = found.len() <= limit;
        found.truncate(limit);
        let changes: Result<Vec<CurrentState>, StoreError> = found
            .iter()
            .map(|row| {
                let version = row.try_get("version").map_err(failed)?;
                let is_gone: bool = row.try_get("is_gone").map_err(failed)?;
                Ok(if is_gone {
                    CurrentState::Deleted { version, id: rows::notification_id(row)? }
                } else {
                    CurrentState::Present { version, notification: rows::notification(row, position.epoch)? }
                })
            })
            .collect();
        Ok(Some(Changes { changes: changes?, complete, position }))
    }

    async fn change(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, StoreError> {
        let mut db = self.write().await?;
        let changed = change::perform(&mut db, user, change, at.process_ms()).await?;
        commit(db).await?;
        Ok(changed)
    }

    async fn acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, StoreError> {
        let mut db = self.write().await?;
        let settled = sqlx::query(
            "UPDATE inboxes SET acked = max(acked, ?2)
              WHERE user_id = ?1 AND epoch = ?3 AND ?2 BETWEEN purged_through AND head",
        )
        .bind(user.as_str())
        .bind(cursor.offset)
        .bind(cursor.epoch.0.cast_signed())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
        // Who never got anything has no row, and stands at offset 0 all the same.
        let known = settled.rows_affected() > 0 || rows::position(&mut db, user, at.process_ms()).await?.knows(cursor);
        commit(db).await?;
        Ok(known)
    }
}

impl SqliteRecord {
    /// Apart, the recipients whose rows are refused wait in a chunk, and the drain sets them aside.
    async fn append_by(&self, way: Strategy, append: &Append<'_>, at: At) -> Result<Appended, StoreError> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let due_ms = match append.due {
            Due::Now => now_ms,
            Due::After(delay_ms) => now_ms.saturating_add(delay_ms),
            Due::At(at_ms) => at_ms,
        };
        if !insert_send(&mut db, append, now_ms, due_ms).await? {
            let known = first_answer(&mut db, append.id).await?;
            return known.map(Appended::Known).ok_or_else(|| rows::broken("sends.id"));
        }
        let at_once = if append.due == Due::Now { CHUNK_RECIPIENTS.min(append.recipients.len()) } else { 0 };
        let (now, later) = append.recipients.split_at(at_once);
        insert_chunks(&mut db, append.id, later, due_ms).await?;
        let arriving =
            Arriving { send: append.id, content: &append.content, newness: (now_ms, now_ms), may_be_late: false };
        let deliveries = match way {
            Strategy::Together => materialise(&mut db, self.epoch, &arriving, now, now_ms).await?,
            Strategy::Bisect => {
                let to = now.to_vec();
                let parted = bisect::materialise(&mut db, self.epoch, &arriving, to, now_ms).await?;
                bisect::leave_in_chunk(&mut db, append.id, &parted.refused, due_ms).await?;
                parted.deliveries
            }
        };
        commit(db).await?;
        Ok(Appended::Stored(deliveries))
    }
}

/// False where a send of that id is stored already.
async fn insert_send(db: &mut Connected, append: &Append<'_>, now_ms: i64, due_ms: i64) -> Result<bool, StoreError> {
    let content = &append.content;
    let expires_ms = content.expires_at.map(|end| end.0);
    let inserted = sqlx::query(
        "INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, action_url, priority,
                            created_at, due_at, keep_until, expires_at, collapse_key)
         VALUES (?1, ?2, ?3, ?4, ?13, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?14, ?12, ?15, ?16) ON CONFLICT (id) DO NOTHING",
    )
    .bind(append.id.as_bytes().as_slice())
    .bind(append.sender.as_str())
    .bind(append.fingerprint.as_slice())
    .bind(append.answer)
    .bind(&content.kind)
    .bind(&content.title)
    .bind(content.body.as_deref())
    .bind(content.data.get())
    .bind(content.action_url.as_deref())
    .bind(content.priority.name())
    .bind(now_ms)
    .bind(due_ms.saturating_add(append.retention_ms).max(expires_ms.unwrap_or(i64::MIN)))
    .bind(if append.due == Due::Now { "started" } else { "scheduled" })
    .bind(due_ms)
    .bind(expires_ms)
    .bind(content.collapse_key.as_deref())
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(inserted.rows_affected() == 1)
}

async fn insert_chunks(db: &mut Connected, send: SendId, users: &[UserId], due_at: i64) -> Result<(), StoreError> {
    for (n, recipients) in (1_i64..).zip(users.chunks(CHUNK_RECIPIENTS)) {
        sqlx::query(
            "INSERT INTO send_chunks (send_id, n, recipients, due_at, state) VALUES (?1, ?2, ?3, ?4, 'waiting')",
        )
        .bind(send.as_bytes().as_slice())
        .bind(n)
        .bind(rows::json_list(recipients))
        .bind(due_at)
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

async fn first_answer(db: &mut Connected, send: SendId) -> Result<Option<FirstAnswer>, StoreError> {
    let row = sqlx::query("SELECT fingerprint, answer FROM sends WHERE id = ?1")
        .bind(send.as_bytes().as_slice())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    row.map(|row| {
        let fingerprint: &[u8] = row.try_get("fingerprint").map_err(failed)?;
        Ok(FirstAnswer {
            fingerprint: fingerprint.try_into().map_err(|_| rows::broken("sends.fingerprint"))?,
            answer: row.try_get("answer").map_err(failed)?,
        })
    })
    .transpose()
}

fn limit_beyond(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1)
}
