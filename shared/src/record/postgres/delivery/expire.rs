//! Tombstones of what has expired, in Postgres.

use sqlx::Connection as _;
use uuid::Uuid;

use crate::clock::At;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::Changed;
use crate::record::postgres::PostgresRecord;
use crate::record::postgres::rows::{self, Failure, at_ms, column};
use crate::record::postgres::timeout::InTime;

impl PostgresRecord {
    /// One statement where nothing has expired. Otherwise the inboxes are locked, in the order of their users, before
    /// the statement that reads their rows: so nobody changes them meanwhile.
    pub(crate) async fn try_expire(&self, limit: usize, at: At) -> Result<Vec<(UserId, Changed)>, Failure> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut connection = self.connection().await?;
        let users: Vec<String> = sqlx::query_scalar(
            r#"SELECT DISTINCT user_id
               FROM (SELECT user_id FROM notifications
                      WHERE deleted_at IS NULL
                        AND expires_at <= (
                            SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint))
                      ORDER BY expires_at, user_id, "offset" LIMIT $2) AS first"#,
        )
        .bind(at_ms(at))
        .bind(limit)
        .fetch_all(&mut *connection)
        .in_time()
        .await
        .map_err(rows::read_failed)?;
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = connection.begin().in_time().await.map_err(rows::write_failed)?;
        sqlx::query("SELECT FROM inboxes WHERE user_id = ANY ($1) ORDER BY user_id FOR UPDATE")
            .bind(&users)
            .execute(&mut *transaction)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        let found = sqlx::query(include_str!("expire.sql"))
            .bind(at_ms(at))
            .bind(&users)
            .bind(limit)
            .fetch_all(&mut *transaction)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        transaction.commit().in_time().await.map_err(rows::write_failed)?;
        let mut expired: Vec<(UserId, Changed)> = Vec::new();
        for row in &found {
            let user = UserId::stored(column(row, "user_id")?);
            let is_same = expired.last().is_some_and(|(last, _)| *last == user);
            if !is_same {
                expired.push((user, changed(row)?));
            }
            if let (Some((_, changed)), Some(connection)) = (expired.last_mut(), rows::connection(row, "id")?) {
                changed.connections.push(connection);
            }
        }
        Ok(expired)
    }
}

fn changed(row: &sqlx::postgres::PgRow) -> Result<Changed, StoreError> {
    let cursor = Cursor { epoch: rows::epoch(row)?, offset: column(row, "head")? };
    let ids: Vec<Uuid> = column(row, "ids")?;
    Ok(Changed {
        prev: Cursor { offset: cursor.offset - column::<i64>(row, "steps")?, ..cursor },
        cursor,
        known: ids.len(),
        ids: ids.into_iter().map(NotificationId::from_uuid).collect(),
        unread: column(row, "unread")?,
        connections: Vec::new(),
    })
}
