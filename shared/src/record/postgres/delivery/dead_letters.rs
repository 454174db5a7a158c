//! What was set aside, in Postgres.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::clock::At;
use crate::delivery::dead_letters::{Dead, DeadLetter, DeadLetterKey, DeadLetterPage, DeadLetters, Reason, kept};
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, UserId};
use crate::record::postgres::rows::{self, Failure, at_ms, column};
use crate::record::postgres::timeout::InTime;
use crate::record::postgres::{PostgresRecord, repeated};

#[async_trait]
impl DeadLetters for PostgresRecord {
    async fn dead_letter(&self, dead: &Dead<'_>, why: Reason, at: At) -> Result<(), StoreError> {
        match dead {
            Dead::Push { user, offset } => repeated!(self.try_set_push_aside(user, *offset, why, at)),
            Dead::Unreadable { payload } => repeated!(self.try_set_payload_aside(payload, why, at)),
        }
    }

    async fn page(&self, after: Option<DeadLetterKey>, limit: usize) -> Result<DeadLetterPage, StoreError> {
        let found = sqlx::query(
            "SELECT id, user_id, notification_id, error, attempts, at FROM dead_letters
              WHERE (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3",
        )
        .bind(after.map_or(i64::MAX, |after| after.at_ms))
        .bind(after.map_or(Uuid::max(), |after| after.id.as_uuid()))
        // One more than asked for tells whether there are more.
        .bind(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::read_failed)?;
        let letters: Result<Vec<DeadLetter>, StoreError> = found.iter().map(letter).collect();
        Ok(DeadLetterPage::page(letters?, limit))
    }

    async fn redrive(&self, id: DeadLetterId, at: At) -> Result<bool, StoreError> {
        repeated!(self.try_redrive(id, at))
    }

    async fn discard(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        let discarded = sqlx::query("DELETE FROM dead_letters WHERE id = $1")
            .bind(id.as_uuid())
            .execute(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(|error| rows::write_failed(error).into_error())?;
        Ok(discarded.rows_affected() > 0)
    }
}

impl PostgresRecord {
    async fn try_set_push_aside(&self, user: &UserId, offset: i64, why: Reason, at: At) -> Result<(), Failure> {
        sqlx::query(
            r#"WITH stopped AS (
                   UPDATE notifications SET push_at = NULL
                    WHERE user_id = $3 AND "offset" = $4 AND push_at IS NOT NULL
                   RETURNING send_id, user_id, id, "offset", push_attempts
               )
               INSERT INTO dead_letters (id, send_id, user_id, notification_id, "offset", recipients, error, attempts, at)
               SELECT $2, send_id, user_id, id, "offset", 0, $5, push_attempts,
                      coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
                 FROM stopped
               ON CONFLICT (id) DO NOTHING"#,
        )
        .bind(at_ms(at))
        .bind(DeadLetterId::of_push(user, offset).as_uuid())
        .bind(user.as_str())
        .bind(offset)
        .bind(why.text())
        .execute(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
        Ok(())
    }

    async fn try_set_payload_aside(&self, payload: &str, why: Reason, at: At) -> Result<(), Failure> {
        sqlx::query(
            "INSERT INTO dead_letters (id, recipients, payload, error, attempts, at)
             VALUES ($2, 0, $3, $4, 1, coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint))
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(at_ms(at))
        .bind(DeadLetterId::of_payload(payload).as_uuid())
        .bind(kept(payload))
        .bind(why.text())
        .execute(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
        Ok(())
    }

    async fn try_redrive(&self, id: DeadLetterId, at: At) -> Result<bool, Failure> {
        let redriven = sqlx::query(include_str!("redrive.sql"))
            .bind(at_ms(at))
            .bind(id.as_uuid())
            .fetch_optional(&mut *self.connection().await?)
            .in_time()
            .await;
        match redriven {
            // Another letter of the same send was faster, and its chunk has the number.
            Err(sqlx::Error::Database(said)) if said.is_unique_violation() => Err(Failure::Lost),
            other => Ok(other.map_err(rows::write_failed)?.is_some()),
        }
    }
}

fn letter(row: &PgRow) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        place: DeadLetterKey { at_ms: column(row, "at")?, id: DeadLetterId::from_uuid(column(row, "id")?) },
        user: column::<Option<String>>(row, "user_id")?.map(UserId::stored),
        notification: column::<Option<Uuid>>(row, "notification_id")?.map(NotificationId::from_uuid),
        error: column(row, "error")?,
        attempts: column(row, "attempts")?,
    })
}
