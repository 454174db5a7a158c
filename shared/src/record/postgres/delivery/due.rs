//! Taking what is due, in Postgres: a row each, and, of whom too much is due, all of it as one.

use std::collections::HashMap;

use sqlx::postgres::PgRow;

use crate::clock::At;
use crate::delivery::dead_letters::{Dead, DeadLetters, Reason};
use crate::delivery::deliveries::{
    MAX_FRAMES_PER_USER, MAX_PUSH_DELAY_MS, MAX_STATEMENT_ROWS, MAX_STATEMENTS, Resync, RowKey, Taken,
};
use crate::error::StoreError;
use crate::ids::UserId;
use crate::inbox::{Delivery, PUSH_GRACE_MS};
use crate::record::postgres::rows::{self, Failure, at_ms, column};
use crate::record::postgres::timeout::InTime;
use crate::record::postgres::{PostgresRecord, repeated};

/// What one statement took.
struct Took {
    taken: Taken,
    /// Of whom too much is due.
    behind: Vec<String>,
    /// How many rows of theirs were taken.
    rest: usize,
    /// Rows that say what nobody can read.
    unreadable: Vec<(UserId, i64)>,
}

impl PostgresRecord {
    pub(crate) async fn take(&self, limit: usize, at: At) -> Result<Taken, StoreError> {
        let Took { taken, behind, mut rest, unreadable } = repeated!(self.try_take(limit, at))?;
        self.dead_letter_unreadable(&unreadable, at).await;
        let mut steps = 1;
        while rest >= MAX_STATEMENT_ROWS && steps < MAX_STATEMENTS {
            rest = repeated!(self.try_take_rest(&behind, at))?;
            steps += 1;
        }
        Ok(taken)
    }

    pub(crate) async fn resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        if users.is_empty() {
            return Ok(());
        }
        for _ in 0..MAX_STATEMENTS {
            if repeated!(self.try_resynced(users, at))? < MAX_STATEMENT_ROWS {
                break;
            }
        }
        Ok(())
    }

    pub(crate) async fn take_named(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        let (deliveries, unreadable) = repeated!(self.try_take_named(keys, at))?;
        self.dead_letter_unreadable(&unreadable, at).await;
        Ok(deliveries)
    }

    async fn dead_letter_unreadable(&self, rows: &[(UserId, i64)], at: At) {
        for (user, offset) in rows {
            let dead = Dead::Push { user, offset: *offset };
            if let Err(error) = self.dead_letter(&dead, Reason::Unreadable, at).await {
                tracing::warn!(%error, "a row that cannot be read comes back");
            }
        }
    }

    async fn try_take(&self, limit: usize, at: At) -> Result<Took, Failure> {
        let found = sqlx::query(include_str!("take_due.sql"))
            .bind(at_ms(at))
            .bind(number(limit))
            .bind(PUSH_GRACE_MS)
            .bind(MAX_PUSH_DELAY_MS)
            .bind(number(MAX_FRAMES_PER_USER))
            .bind(number(MAX_STATEMENT_ROWS))
            .fetch_all(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        let (mut taken, mut behind, mut unreadable) = (Taken::default(), Vec::new(), Vec::new());
        for row in &found {
            match column::<Option<i64>>(row, "offset")? {
                Some(offset) => {
                    if add_delivery(&mut taken.deliveries, row, offset).is_err() {
                        unreadable.push((UserId::stored(column(row, "user_id")?), offset));
                    }
                }
                None => add_resync(&mut taken.resyncs, &mut behind, row)?,
            }
        }
        let rest = found.first().map_or(Ok(0), |row| rows::count(row, "rest"))?;
        // It stands there once for each connection.
        unreadable.dedup();
        Ok(Took { taken, behind, rest: usize::try_from(rest).unwrap_or(usize::MAX), unreadable })
    }

    /// What was taken, and what of it nobody can read.
    async fn try_take_named(
        &self,
        keys: &[RowKey<'_>],
        at: At,
    ) -> Result<(Vec<Delivery>, Vec<(UserId, i64)>), Failure> {
        let users: Vec<&str> = keys.iter().map(|key| key.user.as_str()).collect();
        let offsets: Vec<i64> = keys.iter().map(|key| key.offset).collect();
        let fences: Vec<i64> = keys.iter().map(|key| key.fence_ms).collect();
        let found = sqlx::query(include_str!("take.sql"))
            .bind(at_ms(at))
            .bind(users)
            .bind(offsets)
            .bind(fences)
            .bind(PUSH_GRACE_MS)
            .fetch_all(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        let (mut deliveries, mut unreadable) = (Vec::new(), Vec::new());
        for row in &found {
            let offset = column(row, "offset")?;
            if add_delivery(&mut deliveries, row, offset).is_err() {
                unreadable.push((UserId::stored(column(row, "user_id")?), offset));
            }
        }
        // It stands there once for each connection.
        unreadable.dedup();
        Ok((deliveries, unreadable))
    }

    pub(crate) async fn try_postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, Failure> {
        let users: Vec<&str> = rows.iter().map(|(key, _)| key.user.as_str()).collect();
        let offsets: Vec<i64> = rows.iter().map(|(key, _)| key.offset).collect();
        let fences: Vec<i64> = rows.iter().map(|(key, _)| key.fence_ms).collect();
        let waits: Vec<i64> = rows.iter().map(|(_, wait_ms)| *wait_ms).collect();
        let moved = sqlx::query(include_str!("postpone.sql"))
            .bind(at_ms(at))
            .bind(users)
            .bind(offsets)
            .bind(fences)
            .bind(waits)
            .bind(PUSH_GRACE_MS)
            .fetch_all(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        let mut fences: HashMap<(String, i64), i64> = HashMap::new();
        for row in &moved {
            fences.insert((column(row, "user_id")?, column(row, "offset")?), column(row, "push_at")?);
        }
        Ok(rows.iter().map(|(key, _)| fences.get(&(key.user.as_str().to_owned(), key.offset)).copied()).collect())
    }

    async fn try_take_rest(&self, behind: &[String], at: At) -> Result<usize, Failure> {
        let taken = sqlx::query(include_str!("take_rest.sql"))
            .bind(at_ms(at))
            .bind(behind)
            .bind(PUSH_GRACE_MS)
            .bind(MAX_PUSH_DELAY_MS)
            .bind(number(MAX_STATEMENT_ROWS))
            .execute(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        Ok(usize::try_from(taken.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn try_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<usize, Failure> {
        let ids: Vec<String> = users.iter().map(|(user, _)| user.as_str().to_owned()).collect();
        let through: Vec<i64> = users.iter().map(|(_, through)| *through).collect();
        let told = sqlx::query(include_str!("mark_resynced.sql"))
            .bind(at_ms(at))
            .bind(ids)
            .bind(through)
            .bind(number(MAX_STATEMENT_ROWS))
            .execute(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        Ok(usize::try_from(told.rows_affected()).unwrap_or(usize::MAX))
    }
}

fn add_delivery(deliveries: &mut Vec<Delivery>, row: &PgRow, offset: i64) -> Result<(), StoreError> {
    let Some(connection) = rows::connection(row, "connection_id")? else { return Ok(()) };
    let user = connection.user.clone();
    let begin = || {
        let notification = rows::notification(row, rows::epoch(row)?)?;
        Ok(Delivery {
            user: user.clone(),
            notification,
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

/// Who has no connection is behind, and is told nothing.
fn add_resync(resyncs: &mut Vec<Resync>, behind: &mut Vec<String>, row: &PgRow) -> Result<(), StoreError> {
    let user: &str = column(row, "user_id")?;
    if behind.last().is_none_or(|last| last != user) {
        behind.push(user.to_owned());
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

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
