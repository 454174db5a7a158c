//! Materialising in Postgres if the database refuses some recipient's row: the recipients are halved until it is found,
//! so that the others do not wait.

use std::sync::Arc;

use uuid::Uuid;

use crate::clock::At;
use crate::delivery::dead_letters::{Reason, storable};
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, SendId, UserId};
use crate::inbox::notification::Content;
use crate::inbox::sends::Stored;
use crate::record::postgres::delivery::materialise::{bind_recipients, lock_heads, stored};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, json_list, limit};
use crate::record::postgres::sql::sql;
use crate::record::postgres::timeout::{Db, Run, begin, commit, rollback};

const PART: &str = sql!("part.sql", "recipients.sql", "rings.sql", "materialise.sql");
const PART_AND_COLLAPSE: &str = sql!("part.sql", "recipients.sql", "rings.sql", "collapse.sql");

/// The result of bisecting.
pub(crate) struct Bisected {
    pub(crate) stored: Stored,
    /// Recipients whose row the database refuses.
    pub(crate) refused: Vec<UserId>,
}

/// Materialises recipients within a transaction: in one statement, or if that is refused, in one for each half, and so
/// on. One refused recipient among 200 costs at most 17 statements.
pub(crate) async fn materialise(
    db: &mut Db<'_>,
    send: SendId,
    content: &Arc<Content>,
    mut recipients: Vec<UserId>,
    at: At,
) -> Result<Bisected, Failure> {
    // The order in which a single statement locks their inboxes, so that this cannot deadlock with one.
    recipients.sort();
    let mut bisected = Bisected { stored: Stored::default(), refused: Vec::new() };
    let mut parts = vec![recipients];
    while let Some(mut part) = parts.pop() {
        let mut savepoint = begin(db).await?;
        match materialise_part(&mut savepoint, send, content, &part, at).await {
            Ok(part) => {
                commit(savepoint).await?;
                bisected.stored.add(part);
            }
            Err(Failure::Failed(StoreError::Refused(error)) | Failure::Duplicate(error)) => {
                rollback(savepoint).await?;
                if part.len() > 1 {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                } else {
                    tracing::error!(%send, error, "the database refuses the row of a recipient");
                    bisected.refused.extend(part);
                }
            }
            Err(other) => return Err(other),
        }
    }
    Ok(bisected)
}

async fn materialise_part(
    db: &mut Db<'_>,
    send: SendId,
    content: &Arc<Content>,
    part: &[UserId],
    at: At,
) -> Result<Stored, Failure> {
    let sql = if content.collapse_key.is_some() {
        lock_heads(db, part).await?;
        PART_AND_COLLAPSE
    } else {
        PART
    };
    let found = bind_recipients(sql, send, content, part, at).all(db).await?;
    Ok(stored(&found, content)?)
}

/// Materialises a chunk that this transaction has locked, and dead-letters refused recipients.
pub(crate) async fn materialise_chunk(
    db: &mut Db<'_>,
    send: SendId,
    n: i32,
    content: &Arc<Content>,
    recipients: Vec<UserId>,
    at: At,
) -> Result<Stored, Failure> {
    let Bisected { stored, refused } = materialise(db, send, content, recipients, at).await?;
    sqlx::query("UPDATE send_chunks SET state = 'materialised' WHERE send_id = $1 AND n = $2")
        .bind(send.as_uuid())
        .bind(n)
        .run(&mut *db)
        .await?;
    dead_letter_recipients(db, send, &refused, at).await?;
    Ok(stored)
}

/// Dead-letters a whole chunk that this transaction has locked. `text` is its list of recipients as stored; if that
/// cannot be read, their number counts as 1.
pub(crate) async fn dead_letter_chunk(
    db: &mut Db<'_>,
    send: SendId,
    n: i32,
    text: &str,
    recipients: usize,
    at: At,
) -> Result<(), Failure> {
    sqlx::query(sql!(
        (", chunk AS (DELETE FROM send_chunks WHERE send_id = $2 AND n = $3 RETURNING recipients)
             INSERT INTO dead_letters (id, send_id, recipients, payload, error, attempts, at)
             SELECT $4, $2, $5, recipients, $6, 1, now_ms FROM clock, chunk
             ON CONFLICT (id) DO NOTHING")
    ))
    .bind(at_ms(at))
    .bind(send.as_uuid())
    .bind(n)
    .bind(DeadLetterId::of_chunk(send, text.as_bytes()).as_uuid())
    .bind(limit(recipients.max(1)))
    .bind(Reason::Unreadable.text())
    .run(db)
    .await?;
    Ok(())
}

/// Starts a send that this transaction has stored. Refused recipients stay in a chunk that is due at once.
pub(crate) async fn start(db: &mut Db<'_>, send: SendId, refused: &[UserId], at: At) -> Result<(), Failure> {
    sqlx::query("UPDATE sends SET state = 'started' WHERE id = $1").bind(send.as_uuid()).run(&mut *db).await?;
    if refused.is_empty() {
        return Ok(());
    }
    sqlx::query(sql!(
        (" INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
             SELECT $2, 1 + coalesce((SELECT max(n) FROM send_chunks WHERE send_id = $2), 0), $3, now_ms, 'waiting'
               FROM clock")
    ))
    .bind(at_ms(at))
    .bind(send.as_uuid())
    .bind(json_list(refused))
    .run(db)
    .await?;
    Ok(())
}

async fn dead_letter_recipients(db: &mut Db<'_>, send: SendId, refused: &[UserId], at: At) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    let notifications: Vec<NotificationId> = refused.iter().map(|user| NotificationId::of(send, user)).collect();
    let dead_letters: Vec<Uuid> = notifications.iter().map(|id| DeadLetterId::of_recipient(*id).as_uuid()).collect();
    let users: Vec<String> = refused.iter().map(|user| storable(user.as_str())).collect();
    let payloads: Vec<String> = refused.chunks(1).map(json_list).collect();
    let notifications: Vec<Uuid> = notifications.iter().map(NotificationId::as_uuid).collect();
    sqlx::query(sql!(
        (" INSERT INTO dead_letters (id, send_id, user_id, notification_id, recipients, payload, error, attempts, at)
             SELECT refused.id, $2, refused.user_id, refused.notification_id, 1, refused.payload, $7, 1, now_ms
               FROM clock, unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[])
                    AS refused (id, user_id, notification_id, payload)
             ON CONFLICT (id) DO NOTHING")
    ))
    .bind(at_ms(at))
    .bind(send.as_uuid())
    .bind(dead_letters)
    .bind(users)
    .bind(notifications)
    .bind(payloads)
    .bind(Reason::Refused.text())
    .run(db)
    .await?;
    Ok(())
}
