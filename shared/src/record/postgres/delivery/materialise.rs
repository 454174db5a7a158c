//! What the statements that give recipients their rows have in common.

use std::sync::Arc;

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use uuid::Uuid;

use crate::clock::{At, Time};
use crate::cursor::Cursor;
use crate::delivery::{Delivery, PUSH_GRACE_MS};
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::notification::{Content, Notification};
use crate::inbox::sends::Stored;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{self, at_ms, column};
use crate::record::postgres::timeout::{Db, Run};

/// Locks the heads of these users' inboxes in the order of the users, which prevents deadlocks, and creates missing
/// ones. A later statement of the transaction then reads rows that can no longer change.
pub(crate) async fn lock_heads(db: &mut Db<'_>, users: &[UserId]) -> Result<(), Failure> {
    let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
    let query = sqlx::query(
        r#"INSERT INTO inboxes AS inbox (user_id, epoch)
           SELECT user_id, epoch FROM unnest($1::text[]) AS users (user_id), epoch ORDER BY user_id COLLATE "C"
           ON CONFLICT (user_id) DO UPDATE SET head = inbox.head"#,
    );
    query.bind(users).run(db).await?;
    Ok(())
}

/// A statement that ends with `materialise.sql` or `collapse.sql`, with the parameters that these share bound: $1 to
/// $6.
pub(crate) fn bind_recipients<'q>(
    sql: &'static str,
    send: SendId,
    content: &'q Content,
    users: &[UserId],
    at: At,
) -> Query<'q, Postgres, PgArguments> {
    let ids: Vec<Uuid> = users.iter().map(|user| NotificationId::of(send, user).as_uuid()).collect();
    let users: Vec<String> = users.iter().map(|user| user.as_str().to_owned()).collect();
    sqlx::query(sql).bind(at_ms(at)).bind(users).bind(ids).bind(&content.kind).bind(PUSH_GRACE_MS).bind(send.as_uuid())
}

/// What is left to do, by the rows of such a statement.
pub(crate) fn stored(found: &[PgRow], of_send: &Arc<Content>) -> Result<Stored, StoreError> {
    let deliveries = deliveries(found, |_| Ok(Arc::clone(of_send)))?;
    Ok(Stored { deliveries, web_push_at_ms: first_web_push(found)? })
}

/// When the first Web Push is due.
pub(crate) fn first_web_push(found: &[PgRow]) -> Result<Option<i64>, StoreError> {
    let due_at = found.iter().map(|row| column::<Option<i64>>(row, "web_push_at"));
    Ok(due_at.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().min())
}

/// The deliveries among the rows of such a statement, which returns a row for each connection, or one for a user
/// without any.
pub(crate) fn deliveries(
    found: &[PgRow],
    content: impl Fn(&PgRow) -> Result<Arc<Content>, StoreError>,
) -> Result<Vec<Delivery>, StoreError> {
    let mut deliveries = Vec::new();
    for row in found {
        let Some(connection) = rows::connection(row, "id")? else { continue };
        let user = connection.user.clone();
        let id = NotificationId::from_uuid(column(row, "notification_id")?);
        let begin = || {
            let notification = Notification {
                id,
                content: content(row)?,
                cursor: Cursor { epoch: rows::epoch(row)?, offset: column(row, "head")? },
                created_at: Time(column(row, "now_ms")?),
                read_at: None,
                silent: column(row, "silent")?,
            };
            let replaces: Option<Vec<Uuid>> = column(row, "replaces")?;
            Ok(Delivery {
                user: user.clone(),
                arrived_at_ms: notification.created_at.0,
                fence_ms: notification.created_at.0 + PUSH_GRACE_MS,
                notification,
                unread: column(row, "unread")?,
                replaces: replaces.unwrap_or_default().into_iter().map(NotificationId::from_uuid).collect(),
                connections: Vec::new(),
                attempt: 0,
            })
        };
        rows::gather(&mut deliveries, connection, begin, |delivery| delivery.notification.id == id)?;
    }
    Ok(deliveries)
}
