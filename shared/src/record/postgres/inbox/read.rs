//! Reading an inbox in Postgres: each read is one statement, and each of its rows repeats the position at which it was
//! read.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::clock::At;
use crate::cursor::Cursor;
use crate::ids::{NotificationId, UserId};
use crate::inbox::bounds::{Bounds, within};
use crate::inbox::notification::Notification;
use crate::inbox::{Changes, CurrentState, Listed, Page, Position};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{self, at_ms, broken, column};
use crate::record::postgres::sql::sql;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;

/// The position of the inbox of user $2. Expired notifications do not count as unread, even before they are tombstones.
macro_rules! position {
    () => {
        " SELECT coalesce(i.epoch, e.epoch) AS epoch, coalesce(i.head, 0) AS head, coalesce(i.acked, 0) AS acked,
                coalesce(i.purged_through, 0) AS purged_through, coalesce(i.unread, 0) - expired.unread AS unread,
                expired.expired
           FROM epoch e LEFT JOIN inboxes i ON i.user_id = $2
          CROSS JOIN (
              SELECT count(*) AS expired, count(*) FILTER (WHERE read_at IS NULL) AS unread
                FROM notifications
               WHERE user_id = $2 AND deleted_at IS NULL AND expires_at <= (SELECT now_ms FROM clock)) AS expired"
    };
}

/// The position of an inbox with some of its notifications: one row each, or one without `id` if there are none. Rows end
/// with the one whose size, at least, exceeds `$max_bytes`, but not with the first, so that there is a further row if some
/// were left out. Postgres knows the length of a text without reading it.
macro_rules! with_position {
    ($which:literal, $order:literal, $max_bytes:literal) => {
        sql!((
            " SELECT * FROM (",
            position!(),
            r#") AS p LEFT JOIN LATERAL (
            SELECT * FROM (
                SELECT n.*, s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key,
                       s.channels, s.digest_ms, s.traceparent,
                       sum(least_bytes) OVER earlier - least_bytes AS bytes_before, row_number() OVER earlier AS place
                  FROM (
                      SELECT n.send_id, n."offset", n.version, n.id, n.created_at, n.read_at, n.silent,
                             n.deleted_at IS NOT NULL
                                 OR coalesce(n.expires_at <= (SELECT now_ms FROM clock), false) AS is_gone
                        FROM notifications n "#,
            $which,
            r#") AS n
                  LEFT JOIN sends s ON s.id = n.send_id AND NOT n.is_gone
                 CROSS JOIN LATERAL (
                     SELECT coalesce(200 + octet_length(s.type) + octet_length(s.title) + octet_length(s.data)
                                     + coalesce(octet_length(s.body), 0) + coalesce(octet_length(s.action_url), 0),
                                     39) AS least_bytes) AS size
                WINDOW earlier AS (ORDER BY "#,
            $order,
            ") ) AS counted WHERE bytes_before <= ",
            $max_bytes,
            " OR place <= 2) AS n ON true ORDER BY ",
            $order
        ))
    };
}

impl PostgresRecord {
    pub(super) async fn try_position(&self, user: &UserId, at: At) -> Result<Position, Failure> {
        let query = sqlx::query(sql!((position!()))).bind(at_ms(at)).bind(user.as_str());
        Ok(rows::position(&query.read_one(&mut *self.connection().await?).await?)?)
    }

    pub(super) async fn try_unread_of_type(&self, user: &UserId, kind: &str, at: At) -> Result<i64, Failure> {
        let query = sqlx::query(sql!(
            (" SELECT count(*) AS unread FROM notifications, clock
               WHERE user_id = $2 AND type = $3 AND read_at IS NULL AND deleted_at IS NULL
                 AND coalesce(expires_at > clock.now_ms, true)")
        ));
        let query = query.bind(at_ms(at)).bind(user.as_str()).bind(kind);
        Ok(column(&query.read_one(&mut *self.connection().await?).await?, "unread")?)
    }

    pub(super) async fn try_list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, Failure> {
        let query = sqlx::query(with_position!(
            r#"WHERE n.user_id = $2 AND n."offset" < $3 AND n.deleted_at IS NULL
                 AND coalesce(n.expires_at > (SELECT now_ms FROM clock), true)
                 AND ($4::text IS NULL OR n.type = $4) AND (NOT $5 OR n.read_at IS NULL)
               ORDER BY n."offset" DESC LIMIT $6"#,
            r#"n."offset" DESC"#,
            "$7"
        ))
        .bind(at_ms(at))
        .bind(user.as_str())
        .bind(page.before.unwrap_or(i64::MAX))
        .bind(page.kind.as_deref())
        .bind(page.unread)
        // One more than asked for, to see whether more follow.
        .bind(one_more_than(page.bounds.items))
        .bind(max_bytes(page.bounds));
        let (position, found) = split(query.read_all(&mut *self.connection().await?).await?)?;
        let found = found.iter().map(|row| Ok::<_, Failure>(rows::notification(row, position.epoch)?));
        let (notifications, more) = within(page.bounds, found)?;
        Ok(Listed { notifications, more, position })
    }

    pub(super) async fn try_find(
        &self,
        user: &UserId,
        id: NotificationId,
        at: At,
    ) -> Result<Option<Notification>, Failure> {
        let query = sqlx::query(with_position!(
            "WHERE n.user_id = $2 AND n.id = $3 AND n.deleted_at IS NULL
               AND coalesce(n.expires_at > (SELECT now_ms FROM clock), true)",
            r#"n."offset""#,
            "0"
        ))
        .bind(at_ms(at))
        .bind(user.as_str())
        .bind(id.as_uuid());
        let (position, found) = split(query.read_all(&mut *self.connection().await?).await?)?;
        Ok(found.first().map(|row| rows::notification(row, position.epoch)).transpose()?)
    }

    pub(super) async fn try_changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        bounds: Bounds,
        at: At,
    ) -> Result<Option<Changes>, Failure> {
        let query = sqlx::query(with_position!(
            "WHERE n.user_id = $2 AND n.version > $3
               AND ($4 OR n.deleted_at IS NULL AND coalesce(n.expires_at > (SELECT now_ms FROM clock), true))
             ORDER BY n.version LIMIT $5",
            "n.version",
            "$6"
        ))
        .bind(at_ms(at))
        .bind(user.as_str())
        .bind(since.map_or(0, |since| since.offset))
        .bind(since.is_some())
        .bind(one_more_than(bounds.items))
        .bind(max_bytes(bounds));
        let (position, found) = split(query.read_all(&mut *self.connection().await?).await?)?;
        if since.is_some_and(|since| !position.knows(since)) {
            return Ok(None);
        }
        let found = found.iter().map(|row| current_state(row, &position));
        let (changes, more) = within(bounds, found)?;
        Ok(Some(Changes { changes, complete: !more, position }))
    }
}

fn current_state(row: &PgRow, position: &Position) -> Result<CurrentState, Failure> {
    let version = column(row, "version")?;
    if column(row, "is_gone")? {
        Ok(CurrentState::Deleted { version, id: NotificationId::from_uuid(column(row, "id")?) })
    } else {
        Ok(CurrentState::Present { version, notification: rows::notification(row, position.epoch)? })
    }
}

/// The position that every row repeats, and the rows that have a notification.
fn split(found: Vec<PgRow>) -> Result<(Position, Vec<PgRow>), Failure> {
    let position = rows::position(found.first().ok_or_else(|| broken("epoch"))?)?;
    let has_notification = |row: &PgRow| row.try_get::<Option<Uuid>, _>("id").is_ok_and(|id| id.is_some());
    Ok((position, found.into_iter().filter(has_notification).collect()))
}

fn max_bytes(bounds: Bounds) -> i64 {
    i64::try_from(bounds.bytes).unwrap_or(i64::MAX)
}

fn one_more_than(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1)
}
