//! Dead letters in Postgres.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::clock::At;
use crate::delivery::dead_letters::{Dead, DeadLetter, DeadLetterPage, DeadLetters, Reason, Redriven, storable};
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, UserId};
use crate::page_key::PageKey;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, column, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;

#[async_trait]
impl DeadLetters for PostgresRecord {
    async fn dead_letter(&self, dead: &Dead<'_>, reason: Reason, at: At) -> Result<(), StoreError> {
        match dead {
            Dead::Push { user, offset } => retried!(self.try_dead_letter_push(user, *offset, reason, at)),
            Dead::Held { payload } => retried!(self.try_dead_letter_payload(payload, reason, at)),
        }
    }

    async fn page(&self, after: Option<PageKey<DeadLetterId>>, max: usize) -> Result<DeadLetterPage, StoreError> {
        let found = sqlx::query(
            "SELECT id, user_id, notification_id, error, attempts, at FROM dead_letters
              WHERE (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3",
        )
        .bind(after.map_or(i64::MAX, |after| after.at_ms))
        .bind(after.map_or(Uuid::max(), |after| after.id.as_uuid()))
        // One more than asked for, to see whether more follow.
        .bind(limit(max.saturating_add(1)))
        .read_all(&mut *self.connection().await?)
        .await?;
        let letters: Result<Vec<DeadLetter>, StoreError> = found.iter().map(read_dead_letter).collect();
        Ok(DeadLetterPage::new(letters?, max))
    }

    async fn redrive(&self, id: DeadLetterId, at: At) -> Result<Redriven, StoreError> {
        retried!(self.try_redrive(id, at))
    }

    async fn discard(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        let discarded = sqlx::query("DELETE FROM dead_letters WHERE id = $1")
            .bind(id.as_uuid())
            .run(&mut *self.connection().await?)
            .await?;
        Ok(discarded > 0)
    }
}

impl PostgresRecord {
    async fn try_dead_letter_push(&self, user: &UserId, offset: i64, reason: Reason, at: At) -> Result<(), Failure> {
        sqlx::query(sql!(
            (r#", stopped AS (
                   UPDATE notifications SET push_at = NULL
                    WHERE user_id = $3 AND "offset" = $4 AND push_at IS NOT NULL
                   RETURNING send_id, user_id, id, "offset", push_attempts
               )
               INSERT INTO dead_letters
                      (id, send_id, user_id, notification_id, "offset", recipients, error, attempts, at)
               SELECT $2, send_id, user_id, id, "offset", 0, $5, push_attempts, now_ms FROM clock, stopped
               ON CONFLICT (id) DO NOTHING"#)
        ))
        .bind(at_ms(at))
        .bind(DeadLetterId::of_push(user, offset).as_uuid())
        .bind(user.as_str())
        .bind(offset)
        .bind(reason.text())
        .run(&mut *self.connection().await?)
        .await?;
        Ok(())
    }

    async fn try_dead_letter_payload(&self, payload: &str, reason: Reason, at: At) -> Result<(), Failure> {
        sqlx::query(sql!(
            (" INSERT INTO dead_letters (id, recipients, payload, error, attempts, at)
                 SELECT $2, 0, $3, $4, 1, now_ms FROM clock
                 ON CONFLICT (id) DO NOTHING")
        ))
        .bind(at_ms(at))
        .bind(DeadLetterId::of_payload(payload).as_uuid())
        .bind(storable(payload))
        .bind(reason.text())
        .run(&mut *self.connection().await?)
        .await?;
        Ok(())
    }

    async fn try_redrive(&self, id: DeadLetterId, at: At) -> Result<Redriven, Failure> {
        let redriven = sqlx::query(sql!("redrive.sql"))
            .bind(at_ms(at))
            .bind(id.as_uuid())
            .optional(&mut *self.connection().await?)
            .await;
        // A concurrent redrive of the same send used the number of the chunk.
        let redriven = redriven.map_err(|failure| match failure {
            Failure::Duplicate(_) => Failure::Lost,
            other => other,
        })?;
        let Some(row) = redriven else { return Ok(Redriven::Missing) };
        Ok(column::<Option<String>>(&row, "held")?.map_or(Redriven::Done, Redriven::Held))
    }
}

fn read_dead_letter(row: &PgRow) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        key: PageKey { at_ms: column(row, "at")?, id: DeadLetterId::from_uuid(column(row, "id")?) },
        user: column::<Option<String>>(row, "user_id")?.map(UserId::stored),
        notification: column::<Option<Uuid>>(row, "notification_id")?.map(NotificationId::from_uuid),
        error: column(row, "error")?,
        attempts: column(row, "attempts")?,
    })
}
