//! Digests that are due, in SQLite.

use rusqlite::{Connection, Row, params};

use super::subscriptions;
use crate::clock::At;
use crate::cursor::Epoch;
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::preferences;
use crate::record::sqlite::rows::{self, json_list, limit, select_notifications};
use crate::record::sqlite::statement::{all, execute, first, one, value};
use crate::record::sqlite::store::SqliteRecord;
use crate::web_push::pushes::{
    DigestContent, DigestEnd, DigestKey, DigestTag, DueDigest, MAX_COUNTED, MAX_DIGESTS, MAX_EXAMINED_MESSAGES,
    SettledDigest, claim_ms,
};

impl SqliteRecord {
    pub(super) async fn try_take_digests(&self, max_users: usize, at: At) -> Result<Vec<DueDigest>, Failure> {
        self.write(move |db| {
            let (epoch, now_ms) = (rows::epoch(db)?, at.process_ms());
            let sql = "SELECT user_id, tag, arrivals, attempts, is_held, push_left, pushed_at IS NOT NULL AS is_shown
                         FROM (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY due_at) AS place
                                 FROM push_digests
                                WHERE due_at <= ?1
                                  AND user_id IN (SELECT user_id FROM push_digests WHERE due_at <= ?1
                                                   ORDER BY due_at LIMIT ?2))
                        WHERE place <= ?3
                        ORDER BY user_id, tag";
            let found = all(db, sql, params![now_ms, limit(max_users), MAX_DIGESTS], Found::read)?;
            let mut due = Vec::new();
            for found in found {
                match take(db, epoch, found, now_ms) {
                    Ok(digest) => due.extend(digest),
                    // Comes back after its claim; the others must not wait for it.
                    Err(failure) if matches!(failure.error(), StoreError::Broken(_)) => {
                        let error = failure.error();
                        tracing::error!(%error, "a digest cannot be read, and so is not sent by Web Push");
                    }
                    Err(failure) => return Err(failure),
                }
            }
            Ok(due)
        })
        .await
    }

    pub(super) async fn try_settle_digests(&self, settled: &[SettledDigest<'_>], at: At) -> Result<(), Failure> {
        let settled: Vec<(DigestKey, DigestEnd)> =
            settled.iter().map(|one| (one.key.clone(), one.end.clone())).collect();
        self.write(move |db| {
            for (key, end) in &settled {
                settle(db, key, end, at.process_ms())?;
            }
            Ok(())
        })
        .await
    }
}

/// Counts something that has arrived for a digest. The first opens it.
pub(super) fn open(db: &Connection, user: &UserId, tag: &str, due_at_ms: i64, window_ms: i64) -> Result<(), Failure> {
    let sql = "INSERT INTO push_digests (user_id, tag, due_at, window_ms) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (user_id, tag) DO UPDATE
                  SET arrivals = arrivals + 1, due_at = coalesce(due_at, excluded.due_at), push_left = NULL";
    execute(db, sql, params![user.as_str(), tag, due_at_ms, window_ms])?;
    Ok(())
}

/// A digest that is due.
struct Found {
    user: UserId,
    tag: String,
    arrivals: i64,
    attempts: i64,
    is_held: bool,
    left: Option<String>,
    is_shown: bool,
}

impl Found {
    fn read(row: &Row<'_>) -> Result<Self, Failure> {
        Ok(Self {
            user: UserId::stored(row.get("user_id")?),
            tag: row.get("tag")?,
            arrivals: row.get("arrivals")?,
            attempts: row.get("attempts")?,
            is_held: row.get("is_held")?,
            left: row.get("push_left")?,
            is_shown: row.get("is_shown")?,
        })
    }
}

/// Claims a digest. `None` if it is one of a later version, which comes back for a worker that knows it.
fn take(db: &Connection, epoch: Epoch, found: Found, now_ms: i64) -> Result<Option<DueDigest>, Failure> {
    let fence_ms = now_ms + claim_ms(found.attempts);
    let sql = "UPDATE push_digests SET attempts = attempts + 1, due_at = ?3 WHERE user_id = ?1 AND tag = ?2";
    execute(db, sql, params![found.user.as_str(), found.tag, fence_ms])?;
    let Some(tag) = DigestTag::parse(&found.tag) else { return Ok(None) };
    let (content, told) = match tag {
        DigestTag::Chat(chat) => (messages(db, &found, chat, now_ms)?, Vec::new()),
        DigestTag::Type(_) | DigestTag::Quiet => notifications(db, epoch, &found, now_ms)?,
    };
    let tells = content.count() > 0;
    Ok(Some(DueDigest {
        content,
        attempt: u32::try_from(found.attempts).unwrap_or(u32::MAX),
        is_held: found.is_held || tag == DigestTag::Quiet,
        is_shown: found.is_shown,
        // What tells nothing is closed everywhere.
        subscriptions: subscriptions(db, &found.user, found.left.as_deref().filter(|_| tells))?,
        preferences: preferences::of(db, &found.user)?,
        key: DigestKey { user: found.user, tag, fence_ms, arrivals: found.arrivals, told },
    }))
}

/// What is unread and was not sent, and the arrival positions of that.
fn notifications(
    db: &Connection,
    epoch: Epoch,
    found: &Found,
    now_ms: i64,
) -> Result<(DigestContent, Vec<i64>), Failure> {
    let user = found.user.as_str();
    let sql = r#"SELECT "offset" FROM notifications
                  WHERE user_id = ?1 AND web_push_digest = ?2 AND web_pushed_at IS NULL AND read_at IS NULL
                    AND deleted_at IS NULL AND coalesce(expires_at > ?3, TRUE)
                  ORDER BY "offset" DESC LIMIT ?4"#;
    let told = all(db, sql, params![user, found.tag, now_ms, MAX_COUNTED], value::<i64>)?;
    let count = i64::try_from(told.len()).unwrap_or(MAX_COUNTED);
    let sql = select_notifications!(r#"WHERE n.user_id = ?1 AND n."offset" = ?3"#);
    let newest = first(db, sql, params![user, now_ms, told.first()], |row| {
        Ok((rows::notification(row, epoch)?, row.get::<_, i64>("unread")?))
    })?;
    let expired = rows::expired_unread(db, &json_list(&[&found.user]), now_ms)?;
    let (newest, unread) = newest.map_or((None, 0), |(newest, unread)| (Some(newest), unread));
    let unread = unread - expired.get(&found.user).copied().unwrap_or(0);
    Ok((DigestContent::Notifications { count, newest, unread }, told))
}

/// What is unread of a chat. One who left the chat, or declined it, is not told.
fn messages(db: &Connection, found: &Found, chat: ChatId, now_ms: i64) -> Result<DigestContent, Failure> {
    let (user, id) = (found.user.as_str(), chat.as_bytes().as_slice());
    let sql = "SELECT max(m.read_seq, m.cleared_seq) AS seen, c.last_seq, c.title
                 FROM chat_members m JOIN chats c ON c.id = m.chat_id
                WHERE m.chat_id = ?1 AND m.user_id = ?2 AND c.status <> 'DECLINED'";
    let standing = first(db, sql, params![id, user], |row| {
        Ok((row.get::<_, i64>("seen")?, row.get::<_, i64>("last_seq")?, row.get::<_, Option<String>>("title")?))
    })?;
    let (seen, last_seq, title) = standing.unwrap_or_default();
    let sql = "SELECT sender_id, body FROM messages WHERE chat_id = ?1 AND seq > ?2 ORDER BY seq DESC LIMIT ?3";
    let recent: Vec<(Option<String>, String)> = if last_seq > seen {
        all(db, sql, params![id, seen, MAX_EXAMINED_MESSAGES], |row| Ok((row.get("sender_id")?, row.get("body")?)))?
    } else {
        Vec::new()
    };
    let mut senders: Vec<UserId> = Vec::new();
    for sender in recent.iter().filter_map(|(sender, _)| sender.clone()).map(UserId::stored) {
        if !senders.contains(&sender) {
            senders.push(sender);
        }
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM connections WHERE user_id = ?1 AND token_expires_at > ?2)";
    Ok(DigestContent::Messages {
        count: (last_seq - seen).max(0),
        newest: recent.into_iter().next().map(|(_, body)| body),
        senders,
        title,
        is_connected: one(db, sql, params![user, now_ms], value)?,
    })
}

/// A claimed digest as it is when it is settled.
struct Claimed {
    has_more: bool,
    window_ms: i64,
    is_held: bool,
    left: Option<String>,
    attempts: i64,
    pushed_at: Option<i64>,
}

impl Claimed {
    fn read(row: &Row<'_>) -> Result<Self, Failure> {
        Ok(Self {
            has_more: row.get("has_more")?,
            window_ms: row.get("window_ms")?,
            is_held: row.get("is_held")?,
            left: row.get("push_left")?,
            attempts: row.get("attempts")?,
            pushed_at: row.get("pushed_at")?,
        })
    }
}

fn settle(db: &Connection, key: &DigestKey, end: &DigestEnd, now_ms: i64) -> Result<(), Failure> {
    let (user, tag) = (key.user.as_str(), key.tag.to_string());
    let sql = "SELECT arrivals > ?4 AS has_more, window_ms, is_held, push_left, attempts, pushed_at FROM push_digests
                WHERE user_id = ?1 AND tag = ?2 AND due_at = ?3";
    let claimed = first(db, sql, params![user, tag, key.fence_ms, key.arrivals], Claimed::read)?;
    let Some(claimed) = claimed else { return Ok(()) };
    goes_on(db, key, end, &claimed, now_ms)?;
    let (is_sent, is_failed) = (*end == DigestEnd::Sent, *end == DigestEnd::Failed);
    if is_sent || is_failed || *end == DigestEnd::Dropped {
        // What was read while it was sent is closed.
        let sql = r#"UPDATE notifications
                        SET web_pushed_at = CASE WHEN ?5 THEN ?4 END,
                            web_push_digest = CASE WHEN NOT ?5 THEN NULL WHEN ?7 THEN 'quiet' ELSE web_push_digest END,
                            web_push_failed_at = CASE WHEN ?6 THEN ?4 ELSE web_push_failed_at END,
                            web_push_at = CASE WHEN ?5 AND (read_at IS NOT NULL OR deleted_at IS NOT NULL) THEN ?4 END
                      WHERE user_id = ?1 AND web_push_digest = ?2 AND web_pushed_at IS NULL
                        AND "offset" IN (SELECT value FROM json_each(?3))"#;
        let told = json_list(&key.told);
        execute(db, sql, params![user, tag, told, now_ms, is_sent, is_failed, claimed.is_held])?;
    }
    Ok(())
}

/// Deletes the digest, or says when it is due again.
fn goes_on(db: &Connection, key: &DigestKey, end: &DigestEnd, claimed: &Claimed, now_ms: i64) -> Result<(), Failure> {
    let (user, tag) = (key.user.as_str(), key.tag.to_string());
    let Claimed { has_more, is_held, pushed_at, .. } = *claimed;
    // That of a chat stays until it is read, so that it can be closed. One that was held is shown with others.
    let stays = match end {
        _ if is_held => false,
        DigestEnd::Sent => matches!(key.tag, DigestTag::Chat(_)),
        DigestEnd::Unwanted => pushed_at.is_some(),
        _ => false,
    };
    let due_ms = match end {
        DigestEnd::Later { delay_ms, .. } => Some(now_ms + delay_ms),
        DigestEnd::Held(until_ms) => Some(*until_ms),
        _ => has_more.then_some(now_ms + claimed.window_ms),
    };
    if due_ms.is_none() && !stays {
        execute(db, "DELETE FROM push_digests WHERE user_id = ?1 AND tag = ?2", params![user, tag])?;
        return Ok(());
    }
    let is_later = matches!(end, DigestEnd::Later { .. });
    let left = match end {
        // What has arrived meanwhile is new to every subscription.
        _ if has_more => None,
        DigestEnd::Held(_) => claimed.left.clone(),
        DigestEnd::Later { left, .. } => Some(json_list(left)),
        _ => None,
    };
    let pushed_at = match end {
        DigestEnd::Later { has_sent: true, .. } => pushed_at.or(Some(now_ms)),
        DigestEnd::Later { .. } | DigestEnd::Held(_) => pushed_at,
        DigestEnd::Unwanted if stays => pushed_at,
        _ => stays.then_some(now_ms),
    };
    let sql = "UPDATE push_digests
                  SET due_at = ?3, push_left = ?4, is_held = ?5, attempts = ?6, pushed_at = ?7
                WHERE user_id = ?1 AND tag = ?2";
    let is_held = match end {
        // What is shown under its own tag keeps that.
        DigestEnd::Held(_) => is_held || claimed.pushed_at.is_none(),
        _ => is_later && is_held,
    };
    let attempts = if is_later { claimed.attempts } else { 0 };
    execute(db, sql, params![user, tag, due_ms, left, is_held, attempts, pushed_at])?;
    Ok(())
}
