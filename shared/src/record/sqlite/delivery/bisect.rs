//! Materialising, in SQLite, where some recipient's row is refused: who he is shows by halving, and he holds up nobody
//! else.

use sqlx::Connection as _;

use crate::cursor::Epoch;
use crate::delivery::dead_letters::Reason;
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, SendId, UserId};
use crate::inbox::Delivery;
use crate::record::sqlite::Connected;
use crate::record::sqlite::delivery::materialise::Arriving;
use crate::record::sqlite::rows::{self, failed};

/// How recipients get their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// All of them, which fails where one of them does not go.
    Together,
    /// So that nobody holds up the others.
    Bisect,
}

/// What became of recipients.
pub(crate) struct Bisected {
    pub(crate) deliveries: Vec<Delivery>,
    /// Those who have no row, since the database refuses it.
    pub(crate) refused: Vec<UserId>,
}

/// Gives these recipients their rows, within a transaction: all, or, where that is refused, each half, and so on.
pub(crate) async fn materialise(
    db: &mut Connected,
    epoch: Epoch,
    arriving: &Arriving<'_>,
    recipients: Vec<UserId>,
    now_ms: i64,
) -> Result<Bisected, StoreError> {
    let mut parted = Bisected { deliveries: Vec::new(), refused: Vec::new() };
    let mut parts = vec![recipients];
    while let Some(mut part) = parts.pop() {
        let mut tried = db.begin().await.map_err(failed)?;
        match super::materialise::materialise(&mut tried, epoch, arriving, &part, now_ms).await {
            Ok(deliveries) => {
                tried.commit().await.map_err(failed)?;
                parted.deliveries.extend(deliveries);
            }
            Err(StoreError::Refused(why)) => {
                tried.rollback().await.map_err(failed)?;
                if part.len() > 1 {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                } else {
                    tracing::error!(send = %arriving.send, why, "the row of a recipient is refused");
                    parted.refused.extend(part);
                }
            }
            Err(other) => return Err(other),
        }
    }
    Ok(parted)
}

/// Sets aside a chunk of so many recipients as a whole. `text` is what it says of them.
pub(crate) async fn dead_letter_chunk(
    db: &mut Connected,
    send: SendId,
    n: i64,
    text: &[u8],
    recipients: usize,
    now_ms: i64,
) -> Result<(), StoreError> {
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
    .await
    .map_err(failed)?;
    sqlx::query("DELETE FROM send_chunks WHERE send_id = ?1 AND n = ?2")
        .bind(send.as_bytes().as_slice())
        .bind(n)
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Lets who is refused wait in a chunk of the send.
pub(crate) async fn leave_in_chunk(
    db: &mut Connected,
    send: SendId,
    refused: &[UserId],
    due_ms: i64,
) -> Result<(), StoreError> {
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
    .await
    .map_err(failed)?;
    Ok(())
}

/// Sets aside who is refused, each by himself.
pub(crate) async fn dead_letter_recipients(
    db: &mut Connected,
    send: SendId,
    refused: &[UserId],
    now_ms: i64,
) -> Result<(), StoreError> {
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
        .await
        .map_err(failed)?;
    }
    Ok(())
}
