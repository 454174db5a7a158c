//! Materialising, in Postgres, where some recipient's row is refused: who he is shows by halving, and he holds up nobody
//! else.

use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::clock::At;
use crate::delivery::dead_letters::{Reason, kept};
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, SendId, UserId};
use crate::inbox::Delivery;
use crate::inbox::notification::Content;
use crate::record::postgres::inbox::{deliveries, json_list, lock_heads, materialising};
use crate::record::postgres::rows::{self, Failure, at_ms};
use crate::record::postgres::timeout::InTime;

const PART: &str = concat!(include_str!("part.sql"), include_str!("materialise.sql"));
const PART_AND_COLLAPSE: &str = concat!(include_str!("part.sql"), include_str!("collapse.sql"));

/// What became of recipients.
pub(crate) struct Bisected {
    pub(crate) deliveries: Vec<Delivery>,
    /// Those who have no row, since the database refuses it.
    pub(crate) refused: Vec<UserId>,
}

/// Gives these recipients their rows, within a transaction: in one statement, or, where that is refused, one for each
/// half, and so on: one of 200 who is refused costs 17 of them at most.
pub(crate) async fn materialise(
    db: &mut PgConnection,
    send: SendId,
    content: &Arc<Content>,
    mut recipients: Vec<UserId>,
    at: At,
) -> Result<Bisected, Failure> {
    // In the order in which one statement locks them.
    recipients.sort();
    let mut parted = Bisected { deliveries: Vec::new(), refused: Vec::new() };
    let mut parts = vec![recipients];
    while let Some(mut part) = parts.pop() {
        let mut tried = db.begin().in_time().await.map_err(rows::write_failed)?;
        match materialise_part(&mut tried, send, content, &part, at).await {
            Ok(deliveries) => {
                tried.commit().in_time().await.map_err(rows::write_failed)?;
                parted.deliveries.extend(deliveries);
            }
            Err(Failure::Failed(StoreError::Refused(why))) => {
                tried.rollback().in_time().await.map_err(rows::write_failed)?;
                if part.len() > 1 {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                } else {
                    tracing::error!(%send, why, "the row of a recipient is refused");
                    parted.refused.extend(part);
                }
            }
            Err(other) => return Err(other),
        }
    }
    Ok(parted)
}

async fn materialise_part(
    db: &mut PgConnection,
    send: SendId,
    content: &Arc<Content>,
    part: &[UserId],
    at: At,
) -> Result<Vec<Delivery>, Failure> {
    let sql = if content.collapse_key.is_some() {
        lock_heads(db, part).await?;
        PART_AND_COLLAPSE
    } else {
        PART
    };
    let found = materialising(sql, send, content, part, at).fetch_all(db).in_time().await;
    Ok(deliveries(&found.map_err(rows::write_failed)?, |_| Ok(Arc::clone(content)))?)
}

/// Materialises a chunk that this transaction holds, and sets aside who is refused.
pub(crate) async fn materialise_chunk(
    db: &mut PgConnection,
    send: SendId,
    n: i32,
    content: &Arc<Content>,
    recipients: Vec<UserId>,
    at: At,
) -> Result<Vec<Delivery>, Failure> {
    let Bisected { deliveries, refused } = materialise(db, send, content, recipients, at).await?;
    sqlx::query("UPDATE send_chunks SET state = 'materialised' WHERE send_id = $1 AND n = $2")
        .bind(send.as_uuid())
        .bind(n)
        .execute(&mut *db)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
    dead_letter_recipients(db, send, &refused, at).await?;
    Ok(deliveries)
}

/// Sets aside a chunk that this transaction holds, of so many recipients, as a whole. `text` is what it says of them.
pub(crate) async fn dead_letter_chunk(
    db: &mut PgConnection,
    send: SendId,
    n: i32,
    text: &str,
    recipients: usize,
    at: At,
) -> Result<(), Failure> {
    sqlx::query(
        "WITH chunk AS (DELETE FROM send_chunks WHERE send_id = $2 AND n = $3 RETURNING recipients)
         INSERT INTO dead_letters (id, send_id, recipients, payload, error, attempts, at)
         SELECT $4, $2, $5, recipients, $6, 1, coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
           FROM chunk
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(at_ms(at))
    .bind(send.as_uuid())
    .bind(n)
    .bind(DeadLetterId::of_chunk(send, text.as_bytes()).as_uuid())
    .bind(i64::try_from(recipients.max(1)).unwrap_or(i64::MAX))
    .bind(Reason::Unreadable.text())
    .execute(db)
    .in_time()
    .await
    .map_err(rows::write_failed)?;
    Ok(())
}

/// Starts a send that this transaction has stored. Who is refused waits in a chunk.
pub(crate) async fn start(db: &mut PgConnection, send: SendId, refused: &[UserId], at: At) -> Result<(), Failure> {
    sqlx::query("UPDATE sends SET state = 'started' WHERE id = $1")
        .bind(send.as_uuid())
        .execute(&mut *db)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
    if refused.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
         SELECT $2, 1 + coalesce(max(n), 0), $3,
                coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint), 'waiting'
           FROM send_chunks WHERE send_id = $2",
    )
    .bind(at_ms(at))
    .bind(send.as_uuid())
    .bind(json_list(refused))
    .execute(db)
    .in_time()
    .await
    .map_err(rows::write_failed)?;
    Ok(())
}

async fn dead_letter_recipients(
    db: &mut PgConnection,
    send: SendId,
    refused: &[UserId],
    at: At,
) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    let notifications: Vec<NotificationId> = refused.iter().map(|user| NotificationId::of(send, user)).collect();
    let letters: Vec<Uuid> = notifications.iter().map(|id| DeadLetterId::of_recipient(*id).as_uuid()).collect();
    let users: Vec<String> = refused.iter().map(|user| kept(user.as_str())).collect();
    let payloads: Vec<String> = refused.chunks(1).map(json_list).collect();
    let notifications: Vec<Uuid> = notifications.iter().map(NotificationId::as_uuid).collect();
    sqlx::query(
        "INSERT INTO dead_letters (id, send_id, user_id, notification_id, recipients, payload, error, attempts, at)
         SELECT refused.id, $2, refused.user_id, refused.notification_id, 1, refused.payload, $7, 1,
                coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
           FROM unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[])
                AS refused (id, user_id, notification_id, payload)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(at_ms(at))
    .bind(send.as_uuid())
    .bind(letters)
    .bind(users)
    .bind(notifications)
    .bind(payloads)
    .bind(Reason::Refused.text())
    .execute(db)
    .in_time()
    .await
    .map_err(rows::write_failed)?;
    Ok(())
}
