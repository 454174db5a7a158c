//! Materialising in SQLite if the database refuses some recipient's row: the recipients are halved until it is found,
//! so that the others do not wait.

use sqlx::{Connection as _, SqliteConnection};

use crate::cursor::Epoch;
use crate::delivery::Delivery;
use crate::delivery::dead_letters::Reason;
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, SendId, UserId};
use crate::record::sqlite::delivery::materialise::StoredSend;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows;

/// How recipients are materialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// All together, which fails if the database refuses any recipient's row.
    Together,
    /// With more statements, so that a refused recipient does not hold up the others.
    Bisect,
}

/// The result of bisecting.
pub(crate) struct Bisected {
    pub(crate) deliveries: Vec<Delivery>,
    /// Recipients whose row the database refuses.
    pub(crate) refused: Vec<UserId>,
}

/// Materialises recipients within a transaction: all together, or if that is refused, each half on its own, and so on.
pub(crate) async fn materialise(
    db: &mut SqliteConnection,
    epoch: Epoch,
    send: &StoredSend<'_>,
    recipients: Vec<UserId>,
    now_ms: i64,
) -> Result<Bisected, Failure> {
    let mut bisected = Bisected { deliveries: Vec::new(), refused: Vec::new() };
    let mut parts = vec![recipients];
    while let Some(mut part) = parts.pop() {
        let mut savepoint = db.begin().await?;
        match super::materialise::materialise(&mut savepoint, epoch, send, &part, now_ms).await {
            Ok(deliveries) => {
                savepoint.commit().await?;
                bisected.deliveries.extend(deliveries);
            }
            Err(failure) if matches!(failure.error(), StoreError::Refused(_)) => {
                savepoint.rollback().await?;
                if part.len() > 1 {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                } else {
                    let error = failure.error();
                    tracing::error!(send = %send.id, %error, "the database refuses the row of a recipient");
                    bisected.refused.extend(part);
                }
            }
            Err(other) => return Err(other),
        }
    }
    Ok(bisected)
}

/// Dead-letters a whole chunk. `text` is its list of recipients as stored; if that cannot be read, their number counts
/// as 1.
pub(crate) async fn dead_letter_chunk(
    db: &mut SqliteConnection,
    send: SendId,
    n: i64,
    text: &[u8],
    recipients: usize,
    now_ms: i64,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO dead_letters (id, send_id, recipients, payload, error, attempts, at)
         SELECT ?1, send_id, ?4, recipients, ?5, 1, ?6 FROM send_chunks WHERE send_id = ?2 AND n = ?3
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(DeadLetterId::of_chunk(send, text).as_bytes().as_slice())
    .bind(send.as_bytes().as_slice())
    .bind(n)
    .bind(i64::try_from(recipients.max(1)).unwrap_or(i64::MAX))
    .bind(Reason::Unreadable.text())
    .bind(now_ms)
    .execute(&mut *db)
    .await?;
    sqlx::query("DELETE FROM send_chunks WHERE send_id = ?1 AND n = ?2")
        .bind(send.as_bytes().as_slice())
        .bind(n)
        .execute(db)
        .await?;
    Ok(())
}

/// Keeps refused recipients in a chunk of the send.
pub(crate) async fn leave_in_chunk(
    db: &mut SqliteConnection,
    send: SendId,
    refused: &[UserId],
    due_ms: i64,
) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
         SELECT ?1, 1 + coalesce(max(n), 0), ?2, ?3, 'waiting' FROM send_chunks WHERE send_id = ?1",
    )
    .bind(send.as_bytes().as_slice())
    .bind(rows::json_list(refused))
    .bind(due_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Dead-letters refused recipients, each on its own.
pub(crate) async fn dead_letter_recipients(
    db: &mut SqliteConnection,
    send: SendId,
    refused: &[UserId],
    now_ms: i64,
) -> Result<(), Failure> {
    for user in refused {
        let notification = NotificationId::of(send, user);
        sqlx::query(
            "INSERT INTO dead_letters (id, send_id, user_id, notification_id, recipients, payload, error, attempts, at)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, 1, ?7) ON CONFLICT (id) DO NOTHING",
        )
        .bind(DeadLetterId::of_recipient(notification).as_bytes().as_slice())
        .bind(send.as_bytes().as_slice())
        .bind(user.as_str())
        .bind(notification.as_bytes().as_slice())
        .bind(rows::json_list(std::slice::from_ref(user)))
        .bind(Reason::Refused.text())
        .bind(now_ms)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}
