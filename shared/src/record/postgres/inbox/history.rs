//! History in Postgres: what became of sends.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::history::{
    History, MAX_SENDS, MAX_TRACED_CHUNKS, PastSend, SendPage, SendQuery, States, Trace, is_in_chunk,
};
use crate::page_key::PageKey;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, broken, column, limit};
use crate::record::postgres::sql::sql;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;

#[async_trait]
impl History for PostgresRecord {
    async fn sends(&self, query: &SendQuery, at: At) -> Result<SendPage, StoreError> {
        Ok(self.try_sends(query, at).await?)
    }

    async fn trace(&self, id: NotificationId, of: Option<&UserId>, at: At) -> Result<Option<Trace>, StoreError> {
        Ok(self.try_trace(id, of, at).await?)
    }
}

impl PostgresRecord {
    async fn try_sends(&self, query: &SendQuery, at: At) -> Result<SendPage, Failure> {
        let found = sqlx::query(AssertSqlSafe(statement(query)))
            .bind(at_ms(at))
            .bind(query.sender.as_ref().map(UserId::as_str))
            .bind(query.kind.as_deref())
            .bind(query.recipient.as_ref().map(UserId::as_str))
            .bind(query.after.map_or(i64::MAX, |after| after.at_ms))
            .bind(query.after.map_or(Uuid::max(), |after| after.id.as_uuid()))
            .bind(limit(query.examined() + 1))
            .read_all(&mut *self.connection().await?)
            .await?;
        let found: Result<Vec<PastSend>, StoreError> = found.iter().map(past_send).collect();
        Ok(query.page(found?))
    }

    async fn try_trace(&self, id: NotificationId, of: Option<&UserId>, at: At) -> Result<Option<Trace>, Failure> {
        let found = sqlx::query(sql!("trace.sql"))
            .bind(at_ms(at))
            .bind(id.as_uuid())
            .bind(of.map(UserId::as_str))
            .bind(limit(MAX_TRACED_CHUNKS))
            .read_all(&mut *self.connection().await?)
            .await?;
        for row in &found {
            let send: Option<Uuid> = column(row, "send_id")?;
            let is_match = match send.map(SendId::from_uuid) {
                None => true,
                Some(send) => {
                    is_in_chunk(id, send, column(row, "recipients")?).ok_or_else(|| broken("send_chunks.recipients"))?
                }
            };
            if is_match {
                return Ok(Some(trace(row)?));
            }
        }
        Ok(None)
    }
}

/// What every statement begins with.
const CLOCK: &str = sql!((""));

/// The filters that are set are part of the statement instead of being optional parameters: a plan that fits every
/// combination would scan the whole history for each.
/// $2 sender  $3 type  $4 recipient  $5 time and $6 id after which  $7 the most sends to examine
fn statement(query: &SendQuery) -> String {
    let filter = |is_set, condition, no_condition| if is_set { condition } else { no_condition };
    let of_sender = filter(query.sender.is_some(), "s.sender = $2", "$2::text IS NULL");
    let of_type = filter(query.kind.is_some(), "s.type = $3", "$3::text IS NULL");
    let of_recipient = filter(
        query.recipient.is_some(),
        "s.id = ANY (ARRAY(
             SELECT n.send_id FROM notifications n WHERE n.user_id = $4
              UNION SELECT c.send_id FROM send_chunks c WHERE c.state = 'waiting' AND c.recipients::jsonb ? $4
              UNION SELECT c.send_id FROM send_chunks c WHERE c.state = 'expired' AND c.recipients::jsonb ? $4))",
        "$4::text IS NULL",
    );
    // If the limit is a parameter, the planner expects a tenth of the table, so a constant one comes first.
    let max_examined = MAX_SENDS + 1;
    format!(
        "{CLOCK}
         , examined AS MATERIALIZED (
             SELECT * FROM (
                 SELECT s.id, s.type, s.title, s.created_at, s.expires_at
                   FROM sends s
                  WHERE (s.created_at, s.id) < ($5, $6) AND {of_sender} AND {of_type} AND {of_recipient}
                  ORDER BY s.created_at DESC, s.id DESC LIMIT {max_examined}) AS newest
              ORDER BY created_at DESC, id DESC LIMIT $7
         ) {}",
        include_str!("history.sql")
    )
}

fn past_send(row: &PgRow) -> Result<PastSend, StoreError> {
    Ok(PastSend {
        key: PageKey { at_ms: column(row, "created_at")?, id: SendId::from_uuid(column(row, "id")?) },
        kind: column(row, "type")?,
        title: column(row, "title")?,
        states: States {
            waiting: column(row, "waiting")?,
            offered: column(row, "offered")?,
            settled: column(row, "settled")?,
            expired: column(row, "expired")?,
            dead: column(row, "dead")?,
        },
    })
}

fn trace(row: &PgRow) -> Result<Trace, StoreError> {
    Ok(Trace {
        accepted_at_ms: column(row, "accepted_at")?,
        materialised_at_ms: column(row, "created_at")?,
        offered_at_ms: column(row, "offered_at")?,
        read_at_ms: column(row, "read_at")?,
        deleted_at_ms: column(row, "deleted_at")?,
        snoozed_at_ms: column(row, "snoozed_at")?,
        unsnoozed_at_ms: column(row, "unsnoozed_at")?,
        expired_at_ms: column(row, "expired_at")?,
        collapsed_at_ms: column(row, "collapsed_at")?,
        web_pushed_at_ms: column(row, "web_pushed_at")?,
        web_push_failed_at_ms: column(row, "web_push_failed_at")?,
    })
}
