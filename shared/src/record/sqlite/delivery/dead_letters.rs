//! Dead letters in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use crate::clock::At;
use crate::delivery::dead_letters::{Dead, DeadLetter, DeadLetterPage, DeadLetters, Reason, Redriven, storable};
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, UserId};
use crate::page_key::PageKey;
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::{all, execute, first, value};
use crate::record::sqlite::store::SqliteRecord;

#[async_trait]
impl DeadLetters for SqliteRecord {
    async fn dead_letter(&self, dead: &Dead<'_>, reason: Reason, at: At) -> Result<(), StoreError> {
        Ok(self.try_dead_letter(dead, reason, at).await?)
    }

    async fn page(&self, after: Option<PageKey<DeadLetterId>>, limit: usize) -> Result<DeadLetterPage, StoreError> {
        Ok(self.try_page(after, limit).await?)
    }

    async fn redrive(&self, id: DeadLetterId, at: At) -> Result<Redriven, StoreError> {
        Ok(self.try_redrive(id, at).await?)
    }

    async fn discard(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        Ok(self.try_discard(id).await?)
    }
}

impl SqliteRecord {
    async fn try_dead_letter(&self, dead: &Dead<'_>, reason: Reason, at: At) -> Result<(), Failure> {
        match *dead {
            Dead::Push { user, offset } => {
                let user = user.clone();
                self.write(move |db| dead_letter_push(db, &user, offset, reason, at.process_ms())).await
            }
            Dead::Held { payload } => {
                let payload = payload.to_owned();
                self.write(move |db| dead_letter_payload(db, &payload, reason, at.process_ms())).await
            }
        }
    }

    async fn try_page(&self, after: Option<PageKey<DeadLetterId>>, limit: usize) -> Result<DeadLetterPage, Failure> {
        let sql = "SELECT id, user_id, notification_id, error, attempts, at FROM dead_letters
                    WHERE (at, id) < (?1, ?2) ORDER BY at DESC, id DESC LIMIT ?3";
        let at_ms = after.map_or(i64::MAX, |after| after.at_ms);
        let id = after.map_or(vec![0xff; 17], |after| after.id.as_bytes().to_vec());
        let letters =
            self.read(move |db| all(db, sql, params![at_ms, id, rows::one_more_than(limit)], read_dead_letter)).await?;
        Ok(DeadLetterPage::new(letters, limit))
    }

    async fn try_redrive(&self, id: DeadLetterId, at: At) -> Result<Redriven, Failure> {
        self.write(move |db| {
            let now_ms = at.process_ms();
            let sql = "SELECT CASE recipients WHEN 0 THEN payload END FROM dead_letters WHERE id = ?1";
            if let Some(Some(held)) = first(db, sql, params![id.as_bytes().as_slice()], value::<Option<String>>)? {
                return Ok(Redriven::Held(held));
            }
            let sql =
                r#"DELETE FROM dead_letters WHERE id = ?1 RETURNING send_id, user_id, "offset", recipients, payload"#;
            let deleted = first(db, sql, params![id.as_bytes().as_slice()], Deleted::read)?;
            let Some(Deleted { user, offset, chunk }) = deleted else { return Ok(Redriven::Missing) };
            let sql = r#"UPDATE notifications SET push_at = ?1, push_attempts = 0
                          WHERE user_id = ?2 AND "offset" = ?3 AND read_at IS NULL AND deleted_at IS NULL"#;
            execute(db, sql, params![now_ms, user, offset])?;
            if let Some((send, recipients)) = chunk {
                let sql = "INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
                           SELECT ?1, 1 + coalesce(max(n), 0), ?2, ?3, 'waiting' FROM send_chunks WHERE send_id = ?1";
                execute(db, sql, params![send, recipients, now_ms])?;
            }
            Ok(Redriven::Done)
        })
        .await
    }

    async fn try_discard(&self, id: DeadLetterId) -> Result<bool, Failure> {
        self.write(move |db| {
            let sql = "DELETE FROM dead_letters WHERE id = ?1";
            Ok(execute(db, sql, params![id.as_bytes().as_slice()])? > 0)
        })
        .await
    }
}

/// What a deleted dead letter says of how to retry it.
struct Deleted {
    user: Option<String>,
    offset: Option<i64>,
    /// The send and the recipients that have no row, if there are any.
    chunk: Option<(Vec<u8>, String)>,
}

impl Deleted {
    fn read(row: &Row<'_>) -> Result<Self, Failure> {
        let has_recipients = rows::count(row, "recipients")? > 0;
        Ok(Self {
            user: row.get("user_id")?,
            offset: row.get("offset")?,
            chunk: if has_recipients { Some((row.get("send_id")?, row.get("payload")?)) } else { None },
        })
    }
}

pub(crate) fn dead_letter_push(
    db: &Connection,
    user: &UserId,
    offset: i64,
    reason: Reason,
    now_ms: i64,
) -> Result<(), Failure> {
    let id = DeadLetterId::of_push(user, offset);
    // In this order, since a row that is no longer due is not dead-lettered.
    execute(
        db,
        r#"INSERT INTO dead_letters (id, send_id, user_id, notification_id, "offset", recipients, error, attempts, at)
           SELECT ?1, send_id, user_id, id, "offset", 0, ?4, push_attempts, ?5 FROM notifications
            WHERE user_id = ?2 AND "offset" = ?3 AND push_at IS NOT NULL
           ON CONFLICT (id) DO NOTHING"#,
        params![id.as_bytes().as_slice(), user.as_str(), offset, reason.text(), now_ms],
    )?;
    let sql = r#"UPDATE notifications SET push_at = NULL WHERE user_id = ?1 AND "offset" = ?2"#;
    execute(db, sql, params![user.as_str(), offset])?;
    Ok(())
}

fn dead_letter_payload(db: &Connection, payload: &str, reason: Reason, now_ms: i64) -> Result<(), Failure> {
    let id = DeadLetterId::of_payload(payload);
    let sql = "INSERT INTO dead_letters (id, recipients, payload, error, attempts, at) VALUES (?1, 0, ?2, ?3, 1, ?4)
               ON CONFLICT (id) DO NOTHING";
    execute(db, sql, params![id.as_bytes().as_slice(), storable(payload), reason.text(), now_ms])?;
    Ok(())
}

fn read_dead_letter(row: &Row<'_>) -> Result<DeadLetter, Failure> {
    let id = DeadLetterId::from_bytes(rows::blob(row, "id")?).ok_or_else(|| broken("dead_letters.id"))?;
    let notification = row.get::<_, Option<Vec<u8>>>("notification_id")?;
    Ok(DeadLetter {
        key: PageKey { at_ms: row.get("at")?, id },
        user: row.get::<_, Option<String>>("user_id")?.map(UserId::stored),
        notification: notification.as_deref().and_then(NotificationId::from_bytes),
        error: row.get("error")?,
        attempts: row.get("attempts")?,
    })
}
