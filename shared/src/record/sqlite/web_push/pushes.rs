//! Notifications whose Web Push is due, in SQLite.

use rusqlite::{Connection, Row, params};

use super::subscriptions;
use crate::clock::At;
use crate::cursor::Epoch;
use crate::error::StoreError;
use crate::ids::UserId;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::preferences;
use crate::record::sqlite::rows::{self, json_list, limit, select_notifications};
use crate::record::sqlite::statement::{all, execute, first, one, value};
use crate::record::sqlite::store::SqliteRecord;
use crate::web_push::pushes::{DigestTag, DuePush, PushEnd, PushKey, SettledPush, Shown, Task, claim_ms};

impl SqliteRecord {
    pub(super) async fn try_take_pushes(&self, max: usize, at: At) -> Result<Vec<DuePush>, Failure> {
        self.write(move |db| {
            let (epoch, now_ms) = (rows::epoch(db)?, at.process_ms());
            let sql = r#"SELECT n.user_id, n."offset", n.web_push_attempts, n.web_push_left, n.web_push_digest, n.collapse_key,
                                n.web_pushed_at IS NOT NULL AS was_sent, coalesce(n.silent, FALSE) AS is_silent,
                                n.read_at IS NOT NULL OR n.deleted_at IS NOT NULL OR coalesce(n.expires_at <= ?1, FALSE)
                                AS is_over,
                                i.acked >= n."offset" AS is_acked
                           FROM notifications n JOIN inboxes i ON i.user_id = n.user_id
                          WHERE n.web_push_at <= ?1 ORDER BY n.web_push_at LIMIT ?2"#;
            let found = all(db, sql, params![now_ms, limit(max)], Found::read)?;
            let mut due = Vec::new();
            for found in found {
                match take(db, epoch, &found, now_ms) {
                    Ok(push) => due.extend(push),
                    // Comes back after its claim; the others must not wait for it.
                    Err(failure) if matches!(failure.error(), StoreError::Broken(_)) => {
                        let error = failure.error();
                        tracing::error!(offset = found.offset, %error,
                            "a notification cannot be read, and so is not sent by Web Push");
                    }
                    Err(failure) => return Err(failure),
                }
            }
            Ok(due)
        })
        .await
    }

    pub(super) async fn try_settle_pushes(&self, settled: &[SettledPush<'_>], at: At) -> Result<(), Failure> {
        let settled: Vec<(PushKey, PushEnd)> = settled.iter().map(|one| (one.key.clone(), one.end.clone())).collect();
        self.write(move |db| {
            for (key, end) in &settled {
                settle(db, key, end, at.process_ms())?;
            }
            Ok(())
        })
        .await
    }
}

/// A row that is due.
struct Found {
    user: UserId,
    offset: i64,
    attempts: i64,
    left: Option<String>,
    digest: Option<String>,
    collapse_key: Option<String>,
    was_sent: bool,
    is_silent: bool,
    /// Whether it was read or is gone.
    is_over: bool,
    is_acked: bool,
}

impl Found {
    fn read(row: &Row<'_>) -> Result<Self, Failure> {
        Ok(Self {
            user: UserId::stored(row.get("user_id")?),
            offset: row.get("offset")?,
            attempts: row.get("web_push_attempts")?,
            left: row.get("web_push_left")?,
            digest: row.get("web_push_digest")?,
            collapse_key: row.get("collapse_key")?,
            was_sent: row.get("was_sent")?,
            is_silent: row.get("is_silent")?,
            is_over: row.get("is_over")?,
            is_acked: row.get("is_acked")?,
        })
    }

    /// Whether something is left to do. A notification that is in the inbox and unread is sent, unless a device has acknowledged
    /// it or a digest tells of it. What was sent and is read or gone is closed; a digest, once nothing that it told of is unread,
    /// and a collapse key, once there is no newer one, which has replaced it on the screen. A digest is closed by the last of
    /// its notifications that are due for that.
    fn is_task(&self, db: &Connection) -> Result<bool, Failure> {
        if !self.is_over {
            let is_left = !self.was_sent || self.left.is_some();
            // One device acknowledges for itself: those that are left are asked all the same.
            let is_wanted = self.is_silent || self.was_sent || !self.is_acked;
            return Ok(self.digest.is_none() && is_left && is_wanted);
        }
        let sql = r#"SELECT EXISTS (SELECT 1 FROM notifications
                                     WHERE user_id = ?1 AND web_push_digest = ?2 AND web_pushed_at IS NOT NULL
                                       AND (read_at IS NULL AND deleted_at IS NULL
                                            OR web_push_at IS NOT NULL AND "offset" > ?4))
                         OR ?2 IS NULL
                            AND EXISTS (SELECT 1 FROM notifications
                                         WHERE user_id = ?1 AND collapse_key = ?3 AND "offset" > ?4
                                           AND read_at IS NULL AND deleted_at IS NULL)"#;
        let params = params![self.user.as_str(), self.digest, self.collapse_key, self.offset];
        let is_shown: bool = one(db, sql, params, value)?;
        Ok(self.was_sent && !is_shown)
    }
}

/// Claims a row; `None` if nothing is left to do.
fn take(db: &Connection, epoch: Epoch, found: &Found, now_ms: i64) -> Result<Option<DuePush>, Failure> {
    let subscriptions = subscriptions(db, &found.user, None)?;
    let is_task = !subscriptions.is_empty() && found.is_task(db)?;
    let fence_ms = now_ms + claim_ms(found.attempts);
    // What is closed is closed everywhere.
    let left = found.left.as_deref().filter(|_| !found.is_over);
    let sql = r#"UPDATE notifications
                    SET web_push_attempts = web_push_attempts + 1, web_push_at = ?3, web_push_left = ?4
                  WHERE user_id = ?1 AND "offset" = ?2"#;
    execute(db, sql, params![found.user.as_str(), found.offset, is_task.then_some(fence_ms), left])?;
    if !is_task {
        return Ok(None);
    }
    Ok(Some(DuePush {
        task: if found.is_over { Task::Close(shown(db, found)?) } else { send(db, epoch, found, now_ms)? },
        attempt: u32::try_from(found.attempts).unwrap_or(u32::MAX),
        was_sent: found.was_sent,
        subscriptions: super::subscriptions(db, &found.user, left)?,
        preferences: preferences::of(db, &found.user)?,
        key: PushKey { user: found.user.clone(), offset: found.offset, fence_ms },
    }))
}

fn send(db: &Connection, epoch: Epoch, found: &Found, now_ms: i64) -> Result<Task, Failure> {
    let sql = select_notifications!(r#"WHERE n.user_id = ?1 AND n."offset" = ?3"#);
    let (notification, unread): (_, i64) = one(db, sql, params![found.user.as_str(), now_ms, found.offset], |row| {
        Ok((rows::notification(row, epoch)?, row.get("unread")?))
    })?;
    let expired = rows::expired_unread(db, &json_list(&[&found.user]), now_ms)?;
    let sql = r#"SELECT NOT EXISTS (SELECT 1 FROM notifications n JOIN inboxes i ON i.user_id = n.user_id
                                     WHERE n.user_id = ?1 AND n."offset" > i.acked AND n."offset" < ?2
                                       AND n.read_at IS NULL AND n.deleted_at IS NULL)"#;
    let is_next = one(db, sql, params![found.user.as_str(), found.offset], value)?;
    Ok(Task::Send { notification, unread: unread - expired.get(&found.user).copied().unwrap_or(0), is_next })
}

fn shown(db: &Connection, found: &Found) -> Result<Shown, Failure> {
    let sql = r#"SELECT n.id, s.collapse_key FROM notifications n JOIN sends s ON s.id = n.send_id
                  WHERE n.user_id = ?1 AND n."offset" = ?2"#;
    one(db, sql, params![found.user.as_str(), found.offset], |row| {
        Ok(Shown {
            id: rows::notification_id(row)?,
            collapse_key: row.get("collapse_key")?,
            digest: found.digest.as_deref().and_then(DigestTag::parse),
        })
    })
}

fn settle(db: &Connection, key: &PushKey, end: &PushEnd, now_ms: i64) -> Result<(), Failure> {
    let (user, offset) = (key.user.as_str(), key.offset);
    if matches!(end, PushEnd::Sent | PushEnd::Later { has_sent: true, .. }) {
        // It counts as sent even if the claim has lapsed or ended by a reading; then it is due to be closed.
        let sql = r#"UPDATE notifications
                        SET web_push_at = CASE WHEN read_at IS NOT NULL OR deleted_at IS NOT NULL THEN ?3
                                          ELSE web_push_at END,
                            web_pushed_at = ?3
                      WHERE user_id = ?1 AND "offset" = ?2 AND web_pushed_at IS NULL"#;
        execute(db, sql, params![user, offset, now_ms])?;
    }
    let claimed = r#"UPDATE notifications SET web_push_at = ?4, web_push_left = ?5
                      WHERE user_id = ?1 AND "offset" = ?2 AND web_push_at = ?3 RETURNING 1"#;
    let (next_ms, left) = match end {
        PushEnd::Later { delay_ms, left, .. } => (Some(now_ms + delay_ms), Some(json_list(left))),
        _ => (None, None),
    };
    let is_claimed = first(db, claimed, params![user, offset, key.fence_ms, next_ms, left], value::<i64>)?.is_some();
    if !is_claimed {
        return Ok(());
    }
    match end {
        PushEnd::Sent | PushEnd::Dropped | PushEnd::Later { .. } => {}
        PushEnd::Failed => {
            let sql = r#"UPDATE notifications SET web_push_failed_at = ?3 WHERE user_id = ?1 AND "offset" = ?2"#;
            execute(db, sql, params![user, offset, now_ms])?;
        }
        PushEnd::Digest { tag, due_at_ms, window_ms } => {
            let tag = tag.to_string();
            let sql = r#"UPDATE notifications SET web_push_digest = ?3 WHERE user_id = ?1 AND "offset" = ?2"#;
            execute(db, sql, params![user, offset, tag])?;
            super::digests::open(db, &key.user, &tag, *due_at_ms, *window_ms)?;
        }
    }
    Ok(())
}
