//! Dead letters in SQLite.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::clock::At;
use crate::delivery::dead_letters::{Dead, DeadLetter, DeadLetterPage, DeadLetters, Reason, storable};
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, UserId};
use crate::page_key::PageKey;
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::store::{SqliteRecord, commit};

#[async_trait]
impl DeadLetters for SqliteRecord {
    async fn dead_letter(&self, dead: &Dead<'_>, reason: Reason, at: At) -> Result<(), StoreError> {
        Ok(self.try_dead_letter(dead, reason, at).await?)
    }

    async fn page(&self, after: Option<PageKey<DeadLetterId>>, limit: usize) -> Result<DeadLetterPage, StoreError> {
        Ok(self.try_page(after, limit).await?)
    }

    async fn redrive(&self, id: DeadLetterId, at: At) -> Result<bool, StoreError> {
        Ok(self.try_redrive(id, at).await?)
    }

    async fn discard(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        Ok(self.try_discard(id).await?)
    }
}

impl SqliteRecord {
    async fn try_dead_letter(&self, dead: &Dead<'_>, reason: Reason, at: At) -> Result<(), Failure> {
        let mut db = self.write().await?;
        match dead {
            Dead::Push { user, offset } => dead_letter_push(&mut db, user, *offset, reason, at.process_ms()).await?,
            Dead::Unreadable { payload } => dead_letter_payload(&mut db, payload, reason, at.process_ms()).await?,
        }
        commit(db).await
    }

    async fn try_page(&self, after: Option<PageKey<DeadLetterId>>, limit: usize) -> Result<DeadLetterPage, Failure> {
        let found = sqlx::query(
            "SELECT id, user_id, notification_id, error, attempts, at FROM dead_letters
              WHERE (at, id) < (?1, ?2) ORDER BY at DESC, id DESC LIMIT ?3",
        )
        .bind(after.map_or(i64::MAX, |after| after.at_ms))
        .bind(after.map_or(vec![0xff; 17], |after| after.id.as_bytes().to_vec()))
        // One more than asked for, to see whether more follow.
        .bind(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let letters: Result<Vec<DeadLetter>, Failure> = found.iter().map(read_dead_letter).collect();
        Ok(DeadLetterPage::new(letters?, limit))
    }

    async fn try_redrive(&self, id: DeadLetterId, at: At) -> Result<bool, Failure> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let dead_letter = sqlx::query(
            r#"DELETE FROM dead_letters WHERE id = ?1 RETURNING send_id, user_id, "offset", recipients, payload"#,
        )
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&mut *db)
        .await?;
        let Some(dead_letter) = dead_letter else { return Ok(false) };
        sqlx::query(
            r#"UPDATE notifications SET push_at = ?1, push_attempts = 0
                WHERE user_id = ?2 AND "offset" = ?3 AND read_at IS NULL AND deleted_at IS NULL"#,
        )
        .bind(now_ms)
        .bind(dead_letter.try_get::<Option<String>, _>("user_id")?)
        .bind(dead_letter.try_get::<Option<i64>, _>("offset")?)
        .execute(&mut *db)
        .await?;
        if rows::count(&dead_letter, "recipients")? > 0 {
            sqlx::query(
                "INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
                 SELECT ?1, 1 + coalesce(max(n), 0), ?2, ?3, 'waiting' FROM send_chunks WHERE send_id = ?1",
            )
            .bind(dead_letter.try_get::<Vec<u8>, _>("send_id")?)
            .bind(dead_letter.try_get::<String, _>("payload")?)
            .bind(now_ms)
            .execute(&mut *db)
            .await?;
        }
        commit(db).await?;
        Ok(true)
    }

    async fn try_discard(&self, id: DeadLetterId) -> Result<bool, Failure> {
        let mut db = self.write().await?;
        let discarded = sqlx::query("DELETE FROM dead_letters WHERE id = ?1")
            .bind(id.as_bytes().as_slice())
            .execute(&mut *db)
            .await?;
        commit(db).await?;
        Ok(discarded.rows_affected() > 0)
    }
}

pub(crate) async fn dead_letter_push(
    db: &mut SqliteConnection,
    user: &UserId,
    offset: i64,
    reason: Reason,
    now_ms: i64,
) -> Result<(), Failure> {
    // In this order, since a row that is no longer due is not dead-lettered.
    sqlx::query(
        r#"INSERT INTO dead_letters (id, send_id, user_id, notification_id, "offset", recipients, error, attempts, at)
           SELECT ?1, send_id, user_id, id, "offset", 0, ?4, push_attempts, ?5 FROM notifications
            WHERE user_id = ?2 AND "offset" = ?3 AND push_at IS NOT NULL
           ON CONFLICT (id) DO NOTHING"#,
    )
    .bind(DeadLetterId::of_push(user, offset).as_bytes().as_slice())
    .bind(user.as_str())
    .bind(offset)
    .bind(reason.text())
    .bind(now_ms)
    .execute(&mut *db)
    .await?;
    sqlx::query(r#"UPDATE notifications SET push_at = NULL WHERE user_id = ?1 AND "offset" = ?2"#)
        .bind(user.as_str())
        .bind(offset)
        .execute(db)
        .await?;
    Ok(())
}

async fn dead_letter_payload(
    db: &mut SqliteConnection,
    payload: &str,
    reason: Reason,
    now_ms: i64,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO dead_letters (id, recipients, payload, error, attempts, at) VALUES (?1, 0, ?2, ?3, 1, ?4)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(DeadLetterId::of_payload(payload).as_bytes().as_slice())
    .bind(storable(payload))
    .bind(reason.text())
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(())
}

fn read_dead_letter(row: &SqliteRow) -> Result<DeadLetter, Failure> {
    let id = DeadLetterId::from_bytes(row.try_get("id")?).ok_or_else(|| broken("dead_letters.id"))?;
    let notification: Option<&[u8]> = row.try_get("notification_id")?;
    Ok(DeadLetter {
        key: PageKey { at_ms: row.try_get("at")?, id },
        user: row.try_get::<Option<String>, _>("user_id")?.map(UserId::stored),
        notification: notification.and_then(NotificationId::from_bytes),
        error: row.try_get("error")?,
        attempts: row.try_get("attempts")?,
    })
}
