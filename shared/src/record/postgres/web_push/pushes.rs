//! Notifications whose Web Push is due, in Postgres.

use sqlx::postgres::PgRow;

use super::{add_left, list};
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::preferences::preferences;
use crate::record::postgres::rows::{self, at_ms, column, limit};
use crate::record::postgres::sql::sql;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;
use crate::web_push::pushes::{CLAIM_MS, DigestTag, DuePush, MAX_CLAIM_MS, PushEnd, PushKey, SettledPush, Shown, Task};

impl PostgresRecord {
    pub(super) async fn try_take_pushes(&self, max: usize, at: At) -> Result<Vec<DuePush>, Failure> {
        let query =
            sqlx::query(sql!("take_pushes.sql")).bind(at_ms(at)).bind(limit(max)).bind(CLAIM_MS).bind(MAX_CLAIM_MS);
        let found = query.all(&mut *self.connection().await?).await?;
        let mut due: Vec<DuePush> = Vec::new();
        for row in &found {
            let (user, offset): (&str, i64) = (column(row, "user_id")?, column(row, "offset")?);
            let is_new = due.last().is_none_or(|last| last.key.user.as_str() != user || last.key.offset != offset);
            if is_new {
                match due_push(row) {
                    Ok(push) => due.push(push),
                    Err(error) => {
                        // Comes back after its claim; the others must not wait for it.
                        tracing::error!(offset, %error, "a notification cannot be read, and so is not sent by Web Push");
                        continue;
                    }
                }
            }
            if let Some(last) = due.last_mut() {
                add_left(row, &mut last.subscriptions)?;
            }
        }
        Ok(due)
    }

    pub(super) async fn try_settle_pushes(&self, settled: &[SettledPush<'_>], at: At) -> Result<(), Failure> {
        if settled.is_empty() {
            return Ok(());
        }
        let columns = Columns::of(settled);
        let query = sqlx::query(sql!("settle_pushes.sql"))
            .bind(at_ms(at))
            .bind(settled.iter().map(|one| one.key.user.as_str()).collect::<Vec<&str>>())
            .bind(settled.iter().map(|one| one.key.offset).collect::<Vec<i64>>())
            .bind(settled.iter().map(|one| one.key.fence_ms).collect::<Vec<i64>>())
            .bind(columns.ends)
            .bind(columns.has_sent)
            .bind(columns.delays)
            .bind(columns.left)
            .bind(columns.tags)
            .bind(columns.due_at)
            .bind(columns.windows);
        query.run(&mut *self.connection().await?).await?;
        Ok(())
    }
}

/// What became of notifications, in columns of the same order.
#[derive(Default)]
struct Columns {
    ends: Vec<&'static str>,
    has_sent: Vec<bool>,
    delays: Vec<Option<i64>>,
    left: Vec<Option<String>>,
    tags: Vec<Option<String>>,
    due_at: Vec<Option<i64>>,
    windows: Vec<Option<i64>>,
}

impl Columns {
    fn of(settled: &[SettledPush<'_>]) -> Self {
        let mut columns = Self::default();
        for SettledPush { end, .. } in settled {
            columns.ends.push(match end {
                PushEnd::Sent => "sent",
                PushEnd::Dropped => "dropped",
                PushEnd::Failed => "failed",
                PushEnd::Later { .. } => "later",
                PushEnd::Digest { .. } => "digest",
            });
            columns.has_sent.push(matches!(end, PushEnd::Sent | PushEnd::Later { has_sent: true, .. }));
            let (delay_ms, left) = match end {
                PushEnd::Later { delay_ms, left, .. } => (Some(*delay_ms), Some(list(left))),
                _ => (None, None),
            };
            columns.delays.push(delay_ms);
            columns.left.push(left);
            let (tag, due_at, window) = match end {
                PushEnd::Digest { tag, due_at_ms, window_ms } => {
                    (Some(tag.to_string()), Some(*due_at_ms), Some(*window_ms))
                }
                _ => (None, None, None),
            };
            columns.tags.push(tag);
            columns.due_at.push(due_at);
            columns.windows.push(window);
        }
        columns
    }
}

fn due_push(row: &PgRow) -> Result<DuePush, StoreError> {
    let key = PushKey {
        user: UserId::stored(column(row, "user_id")?),
        offset: column(row, "offset")?,
        fence_ms: column(row, "fence")?,
    };
    let task = if column(row, "is_close")? {
        Task::Close(Shown {
            id: NotificationId::from_uuid(column(row, "id")?),
            collapse_key: column(row, "collapse_key")?,
            digest: column::<Option<&str>>(row, "web_push_digest")?.and_then(DigestTag::parse),
        })
    } else {
        let notification = rows::notification(row, rows::epoch(row)?)?;
        Task::Send { notification, unread: column(row, "unread")?, is_next: column(row, "is_next")? }
    };
    Ok(DuePush {
        key,
        task,
        attempt: u32::try_from(column::<i64>(row, "attempt")?).unwrap_or(u32::MAX),
        was_sent: column(row, "was_sent")?,
        subscriptions: Vec::new(),
        preferences: preferences(row)?,
    })
}
