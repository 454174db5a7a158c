//! Giving recipients their rows in SQLite, and replacing older notifications of the same collapse key.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::clock::Time;
use crate::cursor::{Cursor, Epoch};
use crate::delivery::{Delivery, PUSH_GRACE_MS};
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::notification::{Content, Notification};
use crate::inbox::sends::Stored;
use crate::record::sqlite::delivery::rings::{Ring, Rings};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::{all, execute, value};

/// A send that is stored in this act or before, and materialised for some recipients.
pub(crate) struct StoredSend<'a> {
    pub(crate) id: SendId,
    pub(crate) content: &'a Arc<Content>,
    /// When it was due and when it was accepted: the greater pair is the newer send's.
    pub(crate) due_and_accepted_ms: (i64, i64),
    /// Whether a newer send may have been materialised before it.
    pub(crate) may_be_late: bool,
}

/// What a collapse key changes.
#[derive(Default)]
struct Collapse {
    /// Recipients who already have a newer notification of the key: this one is a tombstone on arrival.
    late: HashSet<UserId>,
    /// What it replaces in each inbox, by offset, in order of arrival.
    older: HashMap<UserId, Vec<(i64, NotificationId)>>,
}

/// Assigns an inbox its next offsets: one for each tombstone and one for the arrival, which takes the new head. Returns
/// `unread` without expired notifications that are not tombstones yet.
const RAISE_HEAD: &str = "
    INSERT INTO inboxes (user_id, epoch, head, unread) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (user_id) DO UPDATE SET head = head + excluded.head, unread = unread + excluded.unread
    RETURNING epoch, head, unread - (
        SELECT count(*) FROM notifications n
         WHERE n.user_id = inboxes.user_id AND n.deleted_at IS NULL AND n.read_at IS NULL AND n.expires_at <= ?5
    ) AS unread";

/// Makes a tombstone of what an arrival replaces.
const REPLACE: &str = r#"
    UPDATE notifications
       SET version = ?3, deleted_at = ?4, collapsed_at = ?4, push_at = NULL, web_push_at = NULL
     WHERE user_id = ?1 AND "offset" = ?2"#;

/// Stores an arrival.
const INSERT: &str = r#"
    INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, expires_at, push_at,
                               collapse_key, send_due_at, send_accepted_at, deleted_at, collapsed_at, silent,
                               web_push_at)
    VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13, ?14)"#;

/// Gives these users their rows of a send, in their order. Returns what can be pushed: no delivery for users without a
/// connection.
pub(crate) fn materialise(
    db: &Connection,
    epoch: Epoch,
    send: &StoredSend<'_>,
    users: &[UserId],
    now_ms: i64,
) -> Result<Stored, Failure> {
    let StoredSend { id: send_id, content, due_and_accepted_ms, .. } = send;
    let expires_ms = content.expires_at.map(|end| end.0);
    let list = rows::json_list(users);
    let mut connections = rows::live_connections(db, &list, now_ms)?;
    if expires_ms.is_some_and(|end_ms| end_ms <= now_ms) {
        // It has expired meanwhile: its rows are stored, but not pushed.
        connections.clear();
    }
    let rings = Rings::read(db, &list)?;
    let Collapse { late, mut older } = match &content.collapse_key {
        Some(key) => collapse(db, send, key, &list, now_ms)?,
        None => Collapse::default(),
    };
    // Only needed to decide whether a send of the same key that is materialised afterwards is late.
    let due_and_accepted_ms = content.collapse_key.as_ref().map(|_| due_and_accepted_ms);

    // A statement for each row costs no hand-over to another thread here, and less than one for all rows, which would
    // read their values from JSON.
    let (mut raise_head, mut insert) = (db.prepare_cached(RAISE_HEAD)?, db.prepare_cached(INSERT)?);
    let mut stored = Stored::default();
    for user in users {
        let id = NotificationId::of(*send_id, user);
        let is_late = late.contains(user);
        let replaced = older.remove(user).unwrap_or_default();
        let tombstones = i64::try_from(replaced.len()).unwrap_or(0);
        let (steps, more_unread) = (1 + tombstones, i64::from(!is_late) - tombstones);
        let params = params![user.as_str(), epoch.0.cast_signed(), steps, more_unread, now_ms];
        let (epoch, offset, unread): (Epoch, i64, i64) = raise_head.query_row(params, |row| {
            Ok((Epoch(row.get::<_, i64>("epoch")?.cast_unsigned()), row.get("head")?, row.get("unread")?))
        })?;
        // The tombstones take the offsets directly before that of the new notification, so that its frame reports all
        // of them.
        for ((old_offset, _), version) in replaced.iter().rev().zip((1..offset).rev()) {
            execute(db, REPLACE, params![user.as_str(), old_offset, version, now_ms])?;
        }
        let connections = connections.remove(user).filter(|_| !is_late).unwrap_or_default();
        let Ring { is_silent, web_push_at } = rings.of(user, content, !connections.is_empty(), now_ms);
        let web_push_at = web_push_at.filter(|_| !is_late);
        stored.web_push_at_ms = [stored.web_push_at_ms, web_push_at].into_iter().flatten().min();
        insert.execute(params![
            user.as_str(),
            offset,
            id.as_bytes().as_slice(),
            send_id.as_bytes().as_slice(),
            content.kind,
            now_ms,
            expires_ms,
            (!connections.is_empty()).then_some(now_ms + PUSH_GRACE_MS),
            content.collapse_key.as_deref(),
            due_and_accepted_ms.map(|(due_ms, _)| due_ms),
            due_and_accepted_ms.map(|(_, accepted_ms)| accepted_ms),
            is_late.then_some(now_ms),
            is_silent,
            web_push_at,
        ])?;
        if !connections.is_empty() {
            let notification = Notification {
                id,
                content: Arc::clone(content),
                cursor: Cursor { epoch, offset },
                created_at: Time(now_ms),
                read_at: None,
                silent: is_silent,
            };
            let replaces = replaced.into_iter().map(|(_, id)| id).collect();
            stored.deliveries.push(Delivery {
                user: user.clone(),
                notification,
                arrived_at_ms: now_ms,
                unread,
                replaces,
                connections,
                fence_ms: now_ms + PUSH_GRACE_MS,
                attempt: 0,
            });
        }
    }
    Ok(stored)
}

/// What these users have of the same key. `users`: a JSON list.
fn collapse(db: &Connection, send: &StoredSend<'_>, key: &str, users: &str, now_ms: i64) -> Result<Collapse, Failure> {
    let mut collapse = Collapse::default();
    if send.may_be_late {
        let (due_ms, accepted_ms) = send.due_and_accepted_ms;
        let sql = "SELECT value FROM json_each(?1) AS recipient
                    WHERE EXISTS (SELECT 1 FROM notifications n
                                   WHERE n.user_id = recipient.value AND n.collapse_key = ?2
                                     AND (n.send_due_at, n.send_accepted_at) > (?3, ?4))";
        let late: Vec<String> = all(db, sql, params![users, key, due_ms, accepted_ms], value)?;
        collapse.late = late.into_iter().map(UserId::stored).collect();
    }
    let sql = r#"SELECT user_id, "offset", id FROM notifications
                  WHERE user_id IN (SELECT value FROM json_each(?1)) AND collapse_key = ?2 AND read_at IS NULL
                    AND deleted_at IS NULL AND coalesce(expires_at > ?3, TRUE)
                  ORDER BY user_id, "offset""#;
    all(db, sql, params![users, key, now_ms], |row| {
        let user = UserId::stored(row.get("user_id")?);
        if !collapse.late.contains(&user) {
            let offset = row.get("offset")?;
            collapse.older.entry(user).or_default().push((offset, rows::notification_id(row)?));
        }
        Ok(())
    })?;
    Ok(collapse)
}
