//! Erasing users in Postgres. Each step is a transaction that holds the erasure's own row, so steps of one erasure never
//! overlap. Further locks are taken as everywhere: chunks before sends, an inbox's head before its rows, a member before its
//! chat. Where a step meets other work in another order, one of the two is rolled back and retried.

mod leaving;
mod recipients;
mod sends;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ChatId, ConnectionId, UserId};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, broken, column, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run, begin, commit};
use crate::users::erasures::{
    ERASED_IN_ANSWER, Erased, Erasures, MAX_CHANGED, MAX_CHANGED_TEXTS, MAX_EXAMINED, MAX_EXAMINED_TEXTS, Reached,
    Stage, goes_round_again, in_answer,
};

#[async_trait]
impl Erasures for PostgresRecord {
    async fn begin_erasure(&self, user: &UserId, at: At) -> Result<(), StoreError> {
        retried!(self.try_begin_erasure(user, at))
    }

    async fn erase_some(&self, user: &UserId, at: At) -> Result<Erased, StoreError> {
        retried!(self.try_erase_some(user, at))
    }
}

/// The key of the last row that a stage has examined.
struct Key {
    id: Uuid,
    n: i64,
}

impl PostgresRecord {
    async fn try_begin_erasure(&self, user: &UserId, at: At) -> Result<(), Failure> {
        let query = sqlx::query(
            "INSERT INTO erasures (user_id, begun_at, is_second_round, stage, after_id, after_n)
             VALUES ($1, $2, false, $3, $4, 0) ON CONFLICT DO NOTHING",
        );
        let query = query.bind(user.as_str()).bind(at.process_ms()).bind(Stage::FIRST.number()).bind(Uuid::nil());
        query.run(&mut *self.connection().await?).await?;
        Ok(())
    }

    async fn try_erase_some(&self, user: &UserId, at: At) -> Result<Erased, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        let query = sqlx::query("SELECT * FROM erasures WHERE user_id = $1 FOR UPDATE");
        let Some(row) = query.bind(user.as_str()).optional(&mut transaction).await? else {
            return Ok(Erased::complete());
        };
        let stage = Stage::from_number(column(&row, "stage")?).ok_or_else(|| broken("erasures.stage"))?;
        let after = Key { id: column(&row, "after_id")?, n: column(&row, "after_n")? };
        let mut erased = Erased::default();
        let reached = perform(&mut transaction, stage, user, after, &mut erased, at).await?;
        if let Some((next, id, n)) = reached.next(stage) {
            let query = sqlx::query("UPDATE erasures SET stage = $2, after_id = $3, after_n = $4 WHERE user_id = $1");
            query.bind(user.as_str()).bind(next.number()).bind(id).bind(n).run(&mut transaction).await?;
        } else if goes_round_again(column(&row, "begun_at")?, column(&row, "is_second_round")?, at.process_ms()) {
            let query = sqlx::query(
                "UPDATE erasures SET is_second_round = true, stage = $2, after_id = $3, after_n = 0 WHERE user_id = $1",
            );
            query.bind(user.as_str()).bind(Stage::FIRST.number()).bind(Uuid::nil()).run(&mut transaction).await?;
        } else {
            let query = sqlx::query("DELETE FROM erasures WHERE user_id = $1");
            query.bind(user.as_str()).run(&mut transaction).await?;
            erased.is_complete = true;
        }
        commit(transaction).await?;
        Ok(erased)
    }
}

/// One step of a stage.
async fn perform(
    db: &mut Db<'_>,
    stage: Stage,
    user: &UserId,
    after: Key,
    erased: &mut Erased,
    at: At,
) -> Result<Reached, Failure> {
    match stage {
        Stage::Own => own(db, user, erased).await,
        Stage::Chunks => recipients::in_chunks(db, user, (after.id, after.n)).await,
        Stage::DeadLetters => recipients::in_dead_letters(db, user, after.id).await,
        Stage::Inbox => inbox(db, user).await,
        Stage::Sends => sends::forget(db, user).await,
        Stage::Chats => leaving::leave_chats(db, user, erased).await,
        Stage::LeftChats => {
            let query = sqlx::query(include_str!("forget_creator.sql")).bind(user.as_str()).bind(after.id);
            let row = query.bind(limit(MAX_EXAMINED)).bind(limit(MAX_CHANGED)).one(db).await?;
            reached(&row, MAX_EXAMINED, erased)
        }
        Stage::Messages => {
            let query = sqlx::query(sql!("empty_messages.sql"))
                .bind(at_ms(at))
                .bind(user.as_str())
                .bind(after.id)
                .bind(after.n)
                .bind(limit(MAX_EXAMINED))
                .bind(limit(MAX_CHANGED));
            let row = query.one(db).await?;
            reached(&row, MAX_EXAMINED, erased)
        }
        Stage::Answers => {
            let query = sqlx::query(include_str!("erase_in_answers.sql"))
                .bind(in_answer(user))
                .bind(ERASED_IN_ANSWER)
                .bind(after.id)
                .bind(limit(MAX_EXAMINED_TEXTS))
                .bind(limit(MAX_CHANGED_TEXTS));
            let row = query.one(db).await?;
            reached(&row, MAX_EXAMINED_TEXTS, erased)
        }
    }
}

/// How far a statement has come that walks a table. Columns: examined, done, last_id, last_n, chats.
fn reached(row: &PgRow, max_examined: usize, erased: &mut Erased) -> Result<Reached, Failure> {
    let chats = column::<Option<Vec<Uuid>>>(row, "chats")?.unwrap_or_default();
    erased.chats.extend(chats.into_iter().map(ChatId::from_uuid));
    let (examined, done): (i64, i64) = (column(row, "examined")?, column(row, "done")?);
    if done == examined && examined < limit(max_examined) {
        return Ok(Reached::End);
    }
    let last: Option<Uuid> = column(row, "last_id")?;
    let last = last.ok_or_else(|| broken("the key of a page"))?;
    Ok(Reached::Row(last, column(row, "last_n")?))
}

async fn own(db: &mut Db<'_>, user: &UserId, erased: &mut Erased) -> Result<Reached, Failure> {
    // A call that subscribes for this user holds it.
    let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(user.as_str());
    lock.run(db).await?;
    let query = sqlx::query(include_str!("own_rows.sql")).bind(user.as_str()).bind(limit(MAX_CHANGED));
    let row = query.one(db).await?;
    let connections = column::<Option<Vec<String>>>(&row, "connections")?.unwrap_or_default();
    erased.connections.extend(connections.into_iter().map(ConnectionId::new));
    let digests: i64 = column(&row, "digests")?;
    Ok(if digests < limit(MAX_CHANGED) { Reached::End } else { Reached::Part })
}

/// Deletes notifications, and at last the inbox. The head is locked first, so nothing arrives meanwhile; what arrives
/// afterwards makes an inbox of its own.
async fn inbox(db: &mut Db<'_>, user: &UserId) -> Result<Reached, Failure> {
    let head = sqlx::query("SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE").bind(user.as_str());
    if head.optional(db).await?.is_none() {
        return Ok(Reached::End);
    }
    let query = sqlx::query(
        r#"DELETE FROM notifications
            WHERE user_id = $1
              AND "offset" IN (SELECT "offset" FROM notifications WHERE user_id = $1 ORDER BY "offset" LIMIT $2)
           RETURNING send_id"#,
    );
    let deleted = query.bind(user.as_str()).bind(limit(MAX_CHANGED)).all(db).await?;
    let sends = deleted.iter().map(|row| column(row, "send_id")).collect::<Result<Vec<Uuid>, _>>()?;
    // A drain may have set aside the push of a row since dead letters were erased.
    let letters = sqlx::query("DELETE FROM dead_letters WHERE send_id = ANY ($1) AND user_id = $2");
    letters.bind(sends.clone()).bind(user.as_str()).run(db).await?;
    sends::empty(db, sends).await?;
    if deleted.len() >= MAX_CHANGED {
        return Ok(Reached::Part);
    }
    sqlx::query("DELETE FROM inboxes WHERE user_id = $1").bind(user.as_str()).run(db).await?;
    Ok(Reached::End)
}
