//! Taking rows whose push is due, in Postgres: one delivery per row, or one resync for a user with a backlog.

use std::collections::HashMap;

use sqlx::postgres::PgRow;

use crate::clock::At;
use crate::delivery::dead_letters::{Dead, DeadLetters, Reason};
use crate::delivery::deliveries::{
    MAX_FRAMES_PER_USER, MAX_PUSH_DELAY_MS, MAX_STATEMENT_ROWS, MAX_STATEMENTS, Resync, RowKey, Taken,
};
use crate::delivery::{Delivery, PUSH_GRACE_MS};
use crate::error::StoreError;
use crate::ids::UserId;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{self, at_ms, column, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;

/// What the first statement took.
struct TakenOnce {
    taken: Taken,
    /// Users with a backlog.
    backlogged: Vec<String>,
    /// How many rows of their backlog were taken.
    backlog_rows: usize,
    /// Rows with a content that cannot be read.
    unreadable: Vec<(UserId, i64)>,
}

impl PostgresRecord {
    pub(crate) async fn take_due_with_backlog(&self, max_rows: usize, at: At) -> Result<Taken, StoreError> {
        let TakenOnce { taken, backlogged, mut backlog_rows, unreadable } = retried!(self.try_take_due(max_rows, at))?;
        self.dead_letter_unreadable(&unreadable, at).await;
        let mut statements = 1;
        while backlog_rows >= MAX_STATEMENT_ROWS && statements < MAX_STATEMENTS {
            backlog_rows = retried!(self.try_take_backlog(&backlogged, at))?;
            statements += 1;
        }
        Ok(taken)
    }

    pub(crate) async fn mark_all_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        if users.is_empty() {
            return Ok(());
        }
        for _ in 0..MAX_STATEMENTS {
            if retried!(self.try_mark_resynced(users, at))? < MAX_STATEMENT_ROWS {
                break;
            }
        }
        Ok(())
    }

    pub(crate) async fn take_rows(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        let (deliveries, unreadable) = retried!(self.try_take(keys, at))?;
        self.dead_letter_unreadable(&unreadable, at).await;
        Ok(deliveries)
    }

    async fn dead_letter_unreadable(&self, rows: &[(UserId, i64)], at: At) {
        for (user, offset) in rows {
            let dead = Dead::Push { user, offset: *offset };
            if let Err(error) = self.dead_letter(&dead, Reason::Unreadable, at).await {
                tracing::warn!(%error, "a row that cannot be read could not be dead-lettered and comes back");
            }
        }
    }

    async fn try_take_due(&self, max_rows: usize, at: At) -> Result<TakenOnce, Failure> {
        let found = sqlx::query(sql!("take_due.sql"))
            .bind(at_ms(at))
            .bind(limit(max_rows))
            .bind(PUSH_GRACE_MS)
            .bind(MAX_PUSH_DELAY_MS)
            .bind(limit(MAX_FRAMES_PER_USER))
            .bind(limit(MAX_STATEMENT_ROWS))
            .all(&mut *self.connection().await?)
            .await?;
        let (mut taken, mut backlogged, mut unreadable) = (Taken::default(), Vec::new(), Vec::new());
        for row in &found {
            match column::<Option<i64>>(row, "offset")? {
                Some(offset) => {
                    if add_delivery(&mut taken.deliveries, row, offset).is_err() {
                        unreadable.push((UserId::stored(column(row, "user_id")?), offset));
                    }
                }
                None => add_resync(&mut taken.resyncs, &mut backlogged, row)?,
            }
        }
        let backlog_rows = found.first().map_or(Ok(0), |row| rows::count(row, "backlog_rows"))?;
        // A row appears once for each connection.
        unreadable.dedup();
        let backlog_rows = usize::try_from(backlog_rows).unwrap_or(usize::MAX);
        Ok(TakenOnce { taken, backlogged, backlog_rows, unreadable })
    }

    /// The taken rows, and those of them that cannot be read.
    async fn try_take(&self, keys: &[RowKey<'_>], at: At) -> Result<(Vec<Delivery>, Vec<(UserId, i64)>), Failure> {
        let users: Vec<&str> = keys.iter().map(|key| key.user.as_str()).collect();
        let offsets: Vec<i64> = keys.iter().map(|key| key.offset).collect();
        let fences: Vec<i64> = keys.iter().map(|key| key.fence_ms).collect();
        let found = sqlx::query(sql!("take.sql"))
            .bind(at_ms(at))
            .bind(users)
            .bind(offsets)
            .bind(fences)
            .bind(PUSH_GRACE_MS)
            .all(&mut *self.connection().await?)
            .await?;
        let (mut deliveries, mut unreadable) = (Vec::new(), Vec::new());
        for row in &found {
            let offset = column(row, "offset")?;
            if add_delivery(&mut deliveries, row, offset).is_err() {
                unreadable.push((UserId::stored(column(row, "user_id")?), offset));
            }
        }
        // A row appears once for each connection.
        unreadable.dedup();
        Ok((deliveries, unreadable))
    }

    pub(crate) async fn try_postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, Failure> {
        let users: Vec<&str> = rows.iter().map(|(key, _)| key.user.as_str()).collect();
        let offsets: Vec<i64> = rows.iter().map(|(key, _)| key.offset).collect();
        let fences: Vec<i64> = rows.iter().map(|(key, _)| key.fence_ms).collect();
        let delays: Vec<i64> = rows.iter().map(|(_, delay_ms)| *delay_ms).collect();
        let postponed = sqlx::query(sql!("postpone.sql"))
            .bind(at_ms(at))
            .bind(users)
            .bind(offsets)
            .bind(fences)
            .bind(delays)
            .bind(PUSH_GRACE_MS)
            .all(&mut *self.connection().await?)
            .await?;
        let mut new_fences: HashMap<(String, i64), i64> = HashMap::new();
        for row in &postponed {
            new_fences.insert((column(row, "user_id")?, column(row, "offset")?), column(row, "push_at")?);
        }
        Ok(rows.iter().map(|(key, _)| new_fences.get(&(key.user.as_str().to_owned(), key.offset)).copied()).collect())
    }

    async fn try_take_backlog(&self, backlogged: &[String], at: At) -> Result<usize, Failure> {
        let taken = sqlx::query(sql!("take_backlog.sql"))
            .bind(at_ms(at))
            .bind(backlogged)
            .bind(PUSH_GRACE_MS)
            .bind(MAX_PUSH_DELAY_MS)
            .bind(limit(MAX_STATEMENT_ROWS))
            .run(&mut *self.connection().await?)
            .await?;
        Ok(taken)
    }

    async fn try_mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<usize, Failure> {
        let ids: Vec<String> = users.iter().map(|(user, _)| user.as_str().to_owned()).collect();
        let through: Vec<i64> = users.iter().map(|(_, through)| *through).collect();
        let marked = sqlx::query(sql!("mark_resynced.sql"))
            .bind(at_ms(at))
            .bind(ids)
            .bind(through)
            .bind(limit(MAX_STATEMENT_ROWS))
            .run(&mut *self.connection().await?)
            .await?;
        Ok(marked)
    }
}

/// Adds the connection of a row to its delivery, if it has one. The rows of a delivery must be adjacent.
pub(crate) fn add_delivery(deliveries: &mut Vec<Delivery>, row: &PgRow, offset: i64) -> Result<(), StoreError> {
    let Some(connection) = rows::connection(row, "connection_id")? else { return Ok(()) };
    let user = connection.user.clone();
    let begin = || {
        let notification = rows::notification(row, rows::epoch(row)?)?;
        Ok(Delivery {
            user: user.clone(),
            notification,
            arrived_at_ms: column(row, "arrived_at")?,
            unread: column(row, "unread")?,
            replaces: Vec::new(),
            connections: Vec::new(),
            fence_ms: column(row, "push_at")?,
            attempt: u32::try_from(column::<i64>(row, "push_attempts")?).unwrap_or(u32::MAX),
        })
    };
    let is_same = |delivery: &Delivery| delivery.user == user && delivery.notification.cursor.offset == offset;
    rows::gather(deliveries, connection, begin, is_same)
}

/// A user without a connection has a backlog too, but cannot be told to sync.
fn add_resync(resyncs: &mut Vec<Resync>, backlogged: &mut Vec<String>, row: &PgRow) -> Result<(), StoreError> {
    let user: &str = column(row, "user_id")?;
    if backlogged.last().is_none_or(|last| last != user) {
        backlogged.push(user.to_owned());
    }
    let Some(connection) = rows::connection(row, "connection_id")? else { return Ok(()) };
    match resyncs.last_mut().filter(|last| last.user == connection.user) {
        Some(resync) => resync.connections.push(connection),
        None => {
            let (user, through) = (connection.user.clone(), column(row, "head")?);
            resyncs.push(Resync { user, through, connections: vec![connection] });
        }
    }
    Ok(())
}
