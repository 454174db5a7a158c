//! Making tombstones of expired notifications in Postgres.

use uuid::Uuid;

use crate::clock::At;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::Changed;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::inbox::lock_inboxes;
use crate::record::postgres::rows::{self, at_ms, column, limit};
use crate::record::postgres::sql::sql;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Run, begin, commit};

impl PostgresRecord {
    /// A single statement if nothing has expired. Otherwise the inboxes are locked, in the order of their users, before
    /// the statement that reads their rows, so that these cannot change meanwhile.
    pub(crate) async fn try_expire(&self, max_rows: usize, at: At) -> Result<Vec<(UserId, Changed)>, Failure> {
        let mut connection = self.connection().await?;
        let found = sqlx::query(sql!(
            (r#" SELECT DISTINCT user_id
                FROM (SELECT user_id FROM notifications
                       WHERE deleted_at IS NULL AND expires_at <= (SELECT now_ms FROM clock)
                       ORDER BY expires_at, user_id, "offset" LIMIT $2) AS first"#)
        ))
        .bind(at_ms(at))
        .bind(limit(max_rows))
        .read_all(&mut connection)
        .await?;
        let users: Vec<String> = found.iter().map(|row| column(row, "user_id")).collect::<Result<_, _>>()?;
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = begin(&mut connection).await?;
        lock_inboxes(&mut transaction, &users).await?;
        let found = sqlx::query(sql!("expire.sql"))
            .bind(at_ms(at))
            .bind(&users)
            .bind(limit(max_rows))
            .all(&mut transaction)
            .await?;
        commit(transaction).await?;
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
        web_push_is_due: false,
    })
}
