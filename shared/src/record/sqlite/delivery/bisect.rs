//! Materialising in SQLite if the database refuses some recipient's row: the recipients are halved until it is found,
//! so that the others do not wait.

use rusqlite::{Connection, params};

use crate::cursor::Epoch;
use crate::delivery::dead_letters::Reason;
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, SendId, UserId};
use crate::inbox::sends::Stored;
use crate::record::sqlite::delivery::materialise::StoredSend;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::execute;

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
    pub(crate) stored: Stored,
    /// Recipients whose row the database refuses.
    pub(crate) refused: Vec<UserId>,
}

/// Materialises recipients within an act: all together, or if that is refused, each half on its own, and so on. If it
/// fails, the act must fail too, which also ends the savepoint that is left.
pub(crate) fn materialise(
    db: &Connection,
    epoch: Epoch,
    send: &StoredSend<'_>,
    recipients: Vec<UserId>,
    now_ms: i64,
) -> Result<Bisected, Failure> {
    let mut bisected = Bisected { stored: Stored::default(), refused: Vec::new() };
    let mut parts = vec![recipients];
    while let Some(mut part) = parts.pop() {
        execute(db, "SAVEPOINT part", [])?;
        match super::materialise::materialise(db, epoch, send, &part, now_ms) {
            Ok(part) => {
                execute(db, "RELEASE part", [])?;
                bisected.stored.add(part);
            }
            Err(failure) if matches!(failure.error(), StoreError::Refused(_)) => {
                execute(db, "ROLLBACK TO part", [])?;
                execute(db, "RELEASE part", [])?;
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
pub(crate) fn dead_letter_chunk(
    db: &Connection,
    send: SendId,
    n: i64,
    text: &[u8],
    recipients: usize,
    now_ms: i64,
) -> Result<(), Failure> {
    let id = DeadLetterId::of_chunk(send, text);
    let recipients = rows::limit(recipients.max(1));
    let sql = "INSERT INTO dead_letters (id, send_id, recipients, payload, error, attempts, at)
               SELECT ?1, send_id, ?4, recipients, ?5, 1, ?6 FROM send_chunks WHERE send_id = ?2 AND n = ?3
               ON CONFLICT (id) DO NOTHING";
    let send = send.as_bytes().as_slice();
    execute(db, sql, params![id.as_bytes().as_slice(), send, n, recipients, Reason::Unreadable.text(), now_ms])?;
    execute(db, "DELETE FROM send_chunks WHERE send_id = ?1 AND n = ?2", params![send, n])?;
    Ok(())
}

/// Keeps refused recipients in a chunk of the send.
pub(crate) fn leave_in_chunk(db: &Connection, send: SendId, refused: &[UserId], due_ms: i64) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
               SELECT ?1, 1 + coalesce(max(n), 0), ?2, ?3, 'waiting' FROM send_chunks WHERE send_id = ?1";
    execute(db, sql, params![send.as_bytes().as_slice(), rows::json_list(refused), due_ms])?;
    Ok(())
}

/// Dead-letters refused recipients, each on its own.
pub(crate) fn dead_letter_recipients(
    db: &Connection,
    send: SendId,
    refused: &[UserId],
    now_ms: i64,
) -> Result<(), Failure> {
    let sql =
        "INSERT INTO dead_letters (id, send_id, user_id, notification_id, recipients, payload, error, attempts, at)
         VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, 1, ?7) ON CONFLICT (id) DO NOTHING";
    for user in refused {
        let notification = NotificationId::of(send, user);
        execute(
            db,
            sql,
            params![
                DeadLetterId::of_recipient(notification).as_bytes().as_slice(),
                send.as_bytes().as_slice(),
                user.as_str(),
                notification.as_bytes().as_slice(),
                rows::json_list(std::slice::from_ref(user)),
                Reason::Refused.text(),
                now_ms,
            ],
        )?;
    }
    Ok(())
}
