//! What was set aside, in SQLite.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::At;
use crate::delivery::dead_letters::{Dead, DeadLetter, DeadLetterKey, DeadLetterPage, DeadLetters, Reason, kept};
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, UserId};
use crate::record::sqlite::rows::{self, failed};
use crate::record::sqlite::{Connected, SqliteRecord, commit};

#[async_trait]
impl DeadLetters for SqliteRecord {
    async fn dead_letter(&self, dead: &Dead<'_>, why: Reason, at: At) -> Result<(), StoreError> {
        let mut db = self.write().await?;
        match dead {
            Dead::Push { user, offset } => dead_letter_push(&mut db, user, *offset, why, at.process_ms()).await?,
            Dead::Unreadable { payload } => dead_letter_payload(&mut db, payload, why, at.process_ms()).await?,
        }
        commit(db).await
    }

    async fn page(&self, after: Option<DeadLetterKey>, limit: usize) -> Result<DeadLetterPage, StoreError> {
        let found = sqlx::query(
            "SELECT id, user_id, notification_id, error, attempts, at FROM dead_letters
              WHERE (at, id) < (?1, ?2) ORDER BY at DESC, id DESC LIMIT ?3",
        )
        .bind(after.map_or(i64::MAX, |after| after.at_ms))
        .bind(after.map_or(vec![0xff; 17], |after| after.id.as_bytes().to_vec()))
        // One more than asked for tells whether there are more.
        .bind(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let letters: Result<Vec<DeadLetter>, StoreError> = found.iter().map(letter).collect();
        Ok(DeadLetterPage::page(letters?, limit))
    }

    async fn redrive(&self, id: DeadLetterId, at: At) -> Result<bool, StoreError> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let letter = sqlx::query(
            r#"DELETE FROM dead_letters WHERE id = ?1 RETURNING send_id, user_id, "offset", recipients, payload"#,
        )
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
        let Some(letter) = letter else { return Ok(false) };
        sqlx::query(
            r#"UPDATE notifications SET push_at = ?1, push_attempts = 0
                WHERE user_id = ?2 AND "offset" = ?3 AND read_at IS NULL AND deleted_at IS NULL"#,
        )
        .bind(now_ms)
        .bind(letter.try_get::<Option<String>, _>("user_id").map_err(failed)?)
        .bind(letter.try_get::<Option<i64>, _>("offset").map_err(failed)?)
        .execute(&mut *db)
        .await
        .map_err(failed)?;
        if rows::count(&letter, "recipients")? > 0 {
            sqlx::query(
                "INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
                 SELECT ?1, 1 + coalesce(max(n), 0), ?2, ?3, 'waiting' FROM send_chunks WHERE send_id = ?1",
            )
            .bind(letter.try_get::<Vec<u8>, _>("send_id").map_err(failed)?)
            .bind(letter.try_get::<String, _>("payload").map_err(failed)?)
            .bind(now_ms)
            .execute(&mut *db)
            .await
            .map_err(failed)?;
        }
        commit(db).await?;
        Ok(true)
    }

    async fn discard(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        let mut db = self.write().await?;
        let discarded = sqlx::query("DELETE FROM dead_letters WHERE id = ?1")
            .bind(id.as_bytes().as_slice())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
        commit(db).await?;
        Ok(discarded.rows_affected() > 0)
    }
}

pub(crate) async fn dead_letter_push(
    db: &mut Connected,
    user: &UserId,
    offset: i64,
    why: Reason,
    now_ms: i64,
) -> Result<(), StoreError> {
    // In this order: a row that is not to be pushed any more is not set aside.
    sqlx::query(
        r#"INSERT INTO dead_letters (id, send_id, user_id, notification_id, "offset", recipients, error, attempts, at)
           SELECT ?1, send_id, user_id, id, "offset", 0, ?4, push_attempts, ?5 FROM notifications
            WHERE user_id = ?2 AND "offset" = ?3 AND push_at IS NOT NULL
           ON CONFLICT (id) DO NOTHING"#,
    )
    .bind(DeadLetterId::of_push(user, offset).as_bytes().as_slice())
    .bind(user.as_str())
    .bind(offset)
    .bind(why.text())
    .bind(now_ms)
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    sqlx::query(r#"UPDATE notifications SET push_at = NULL WHERE user_id = ?1 AND "offset" = ?2"#)
        .bind(user.as_str())
        .bind(offset)
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn dead_letter_payload(db: &mut Connected, payload: &str, why: Reason, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO dead_letters (id, recipients, payload, error, attempts, at) VALUES (?1, 0, ?2, ?3, 1, ?4)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(DeadLetterId::of_payload(payload).as_bytes().as_slice())
    .bind(kept(payload))
    .bind(why.text())
    .bind(now_ms)
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

fn letter(row: &SqliteRow) -> Result<DeadLetter, StoreError> {
    let id =
        DeadLetterId::from_bytes(row.try_get("id").map_err(failed)?).ok_or_else(|| rows::broken("dead_letters.id"))?;
    let notification: Option<&[u8]> = row.try_get("notification_id").map_err(failed)?;
    Ok(DeadLetter {
        place: DeadLetterKey { at_ms: row.try_get("at").map_err(failed)?, id },
        user: row.try_get::<Option<String>, _>("user_id").map_err(failed)?.map(UserId::stored),
        notification: notification.and_then(NotificationId::from_bytes),
        error: row.try_get("error").map_err(failed)?,
        attempts: row.try_get("attempts").map_err(failed)?,
    })
}
