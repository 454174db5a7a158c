//! Changing an inbox in SQLite: find the rows that change, and give each the next offset.

use sqlx::{Row, SqliteConnection};

use crate::ids::{NotificationId, UserId};
use crate::inbox::{Change, Changed, Position};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;

/// Performs a change within a write transaction. `None` if its cursor is not part of the inbox's history.
pub(crate) async fn perform(
    db: &mut SqliteConnection,
    user: &UserId,
    change: &Change,
    now_ms: i64,
) -> Result<Option<Changed>, Failure> {
    let position = rows::position(db, user, now_ms).await?;
    if let Change::ReadAll { before: Some(before), .. } = change
        && !position.knows(*before)
    {
        return Ok(None);
    }
    let known = known(db, user, change, now_ms).await?;
    let affected = affected(db, user, change, now_ms).await?;
    let unchanged = Changed {
        prev: position.cursor(),
        cursor: position.cursor(),
        ids: Vec::new(),
        known,
        unread: position.unread,
        connections: Vec::new(),
    };
    if affected.ids.is_empty() {
        return Ok(Some(unchanged));
    }
    apply(db, user, change, &position, &affected, now_ms).await?;
    let after = rows::position(db, user, now_ms).await?;
    let mut connections = rows::live_connections(db, &rows::json_list(&[user]), now_ms).await?;
    Ok(Some(Changed {
        cursor: after.cursor(),
        ids: affected.ids,
        unread: after.unread,
        connections: connections.remove(user).unwrap_or_default(),
        ..unchanged
    }))
}

/// How many of the given ids are this user's.
async fn known(db: &mut SqliteConnection, user: &UserId, change: &Change, now_ms: i64) -> Result<usize, Failure> {
    let (ids, also_deleted) = match change {
        Change::Read(ids) | Change::Unread(ids) => (ids, false),
        Change::Delete(ids) => (ids, true),
        Change::ReadAll { .. } => return Ok(0),
    };
    let known: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM notifications
          WHERE user_id = ?1 AND id IN (SELECT unhex(value) FROM json_each(?2))
            AND (?3 OR deleted_at IS NULL AND coalesce(expires_at > ?4, TRUE))",
    )
    .bind(user.as_str())
    .bind(rows::hex_list(ids))
    .bind(also_deleted)
    .bind(now_ms)
    .fetch_one(db)
    .await?;
    usize::try_from(known).map_err(|_| broken("a count"))
}

/// The rows that a change makes different, in order of arrival.
struct Affected {
    offsets: Vec<i64>,
    ids: Vec<NotificationId>,
    /// By how much the unread count rises; negative if it falls.
    more_unread: i64,
}

async fn affected(db: &mut SqliteConnection, user: &UserId, change: &Change, now_ms: i64) -> Result<Affected, Failure> {
    macro_rules! in_inbox {
        ($which:literal) => {
            concat!(
                r#"SELECT "offset", id, read_at FROM notifications
                    WHERE user_id = ?1 AND deleted_at IS NULL AND coalesce(expires_at > ?2, TRUE) AND "#,
                $which,
                r#" ORDER BY "offset""#
            )
        };
    }
    let by_id = |sql: &'static str, ids: &[NotificationId]| {
        sqlx::query(sql).bind(user.as_str().to_owned()).bind(now_ms).bind(rows::hex_list(ids))
    };
    let query = match change {
        Change::Read(ids) => {
            by_id(in_inbox!("read_at IS NULL AND id IN (SELECT unhex(value) FROM json_each(?3))"), ids)
        }
        Change::Unread(ids) => {
            by_id(in_inbox!("read_at IS NOT NULL AND id IN (SELECT unhex(value) FROM json_each(?3))"), ids)
        }
        Change::Delete(ids) => by_id(in_inbox!("id IN (SELECT unhex(value) FROM json_each(?3))"), ids),
        Change::ReadAll { kind, before } => {
            sqlx::query(in_inbox!(r#"read_at IS NULL AND (?3 IS NULL OR type = ?3) AND "offset" <= ?4"#))
                .bind(user.as_str().to_owned())
                .bind(now_ms)
                .bind(kind.clone())
                .bind(before.map_or(i64::MAX, |before| before.offset))
        }
    };
    let rows = query.fetch_all(db).await?;
    let mut affected = Affected { offsets: Vec::new(), ids: Vec::new(), more_unread: 0 };
    for row in &rows {
        affected.offsets.push(row.try_get("offset")?);
        affected.ids.push(rows::notification_id(row)?);
        let was_unread = row.try_get::<Option<i64>, _>("read_at")?.is_none();
        let is_unread = matches!(change, Change::Unread(_));
        affected.more_unread += i64::from(is_unread) - i64::from(was_unread);
    }
    Ok(affected)
}

/// Changes the rows. Each takes the next offset as its version.
async fn apply(
    db: &mut SqliteConnection,
    user: &UserId,
    change: &Change,
    position: &Position,
    affected: &Affected,
    now_ms: i64,
) -> Result<(), Failure> {
    // `key` is the index in the list, from 0. A notification that is read or deleted is no longer due.
    macro_rules! update {
        ($set:literal) => {
            concat!(
                "UPDATE notifications SET version = ?2 + 1 + j.key, ",
                $set,
                r#" FROM json_each(?3) j WHERE user_id = ?1 AND "offset" = j.value"#
            )
        };
    }
    let (sql, changed_at) = match change {
        Change::Read(_) | Change::ReadAll { .. } => (update!("read_at = ?4, push_at = NULL"), Some(now_ms)),
        Change::Unread(_) => (update!("read_at = ?4"), None),
        Change::Delete(_) => (update!("deleted_at = ?4, push_at = NULL"), Some(now_ms)),
    };
    sqlx::query(sql)
        .bind(user.as_str())
        .bind(position.head)
        .bind(rows::json_list(&affected.offsets))
        .bind(changed_at)
        .execute(&mut *db)
        .await?;
    let steps = i64::try_from(affected.ids.len()).map_err(|_| broken("an inbox"))?;
    sqlx::query("UPDATE inboxes SET head = head + ?2, unread = unread + ?3 WHERE user_id = ?1")
        .bind(user.as_str())
        .bind(steps)
        .bind(affected.more_unread)
        .execute(db)
        .await?;
    Ok(())
}
