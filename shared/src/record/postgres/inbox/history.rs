//! What became of sends, in Postgres.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::history::{
    History, MAX_SENDS, MAX_TRACED_CHUNKS, PastSend, Place, SendPage, SendQuery, States, Trace, is_in_chunk,
};
use crate::record::postgres::PostgresRecord;
use crate::record::postgres::rows::{self, at_ms, column};
use crate::record::postgres::timeout::InTime;

#[async_trait]
impl History for PostgresRecord {
    async fn sends(&self, query: &SendQuery, at: At) -> Result<SendPage, StoreError> {
        let found = sqlx::query(AssertSqlSafe(statement(query)))
            .bind(at_ms(at))
            .bind(query.sender.as_ref().map(UserId::as_str))
            .bind(query.kind.as_deref())
            .bind(query.recipient.as_ref().map(UserId::as_str))
            .bind(query.after.map_or(i64::MAX, |after| after.created_at_ms))
            .bind(query.after.map_or(Uuid::max(), |after| after.id.as_uuid()))
            .bind(i64::try_from(query.examined() + 1).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::read_failed)?;
        let found: Result<Vec<PastSend>, StoreError> = found.iter().map(past_send).collect();
        Ok(query.page(found?))
    }

    async fn trace(&self, id: NotificationId, of: Option<&UserId>, at: At) -> Result<Option<Trace>, StoreError> {
        let found = sqlx::query(include_str!("trace.sql"))
            .bind(at_ms(at))
            .bind(id.as_uuid())
            .bind(of.map(UserId::as_str))
            .bind(i64::try_from(MAX_TRACED_CHUNKS).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::read_failed)?;
        for row in &found {
            let send: Option<Uuid> = column(row, "send_id")?;
            let is_meant = match send.map(SendId::from_uuid) {
                None => true,
                Some(send) => is_in_chunk(id, send, column(row, "recipients")?)
                    .ok_or_else(|| rows::broken("send_chunks.recipients"))?,
            };
            if is_meant {
                return trace(row).map(Some);
            }
        }
        Ok(None)
    }
}

/// What is asked for is said in the statement and not left to a parameter: a plan that must serve every question walks
/// the whole history for each.
/// $1 at  $2 sender  $3 type  $4 recipient  $5 time and $6 id after which  $7 the most to look at
fn statement(query: &SendQuery) -> String {
    let asked = |is_asked, said, otherwise| if is_asked { said } else { otherwise };
    let of_sender = asked(query.sender.is_some(), "s.sender = $2", "$2::text IS NULL");
    let of_type = asked(query.kind.is_some(), "s.type = $3", "$3::text IS NULL");
    let of_recipient = asked(
        query.recipient.is_some(),
        "s.id = ANY (ARRAY(
             SELECT n.send_id FROM notifications n WHERE n.user_id = $4
              UNION SELECT c.send_id FROM send_chunks c WHERE c.state = 'waiting' AND c.recipients::jsonb ? $4
              UNION SELECT c.send_id FROM send_chunks c WHERE c.state = 'expired' AND c.recipients::jsonb ? $4))",
        "$4::text IS NULL",
    );
    // Of a limit that is a parameter the planner thinks that it may be a tenth of the table, and prepares for as much.
    let most = MAX_SENDS + 1;
    format!(
        "WITH clock AS MATERIALIZED (
             SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
         ),
         examined AS MATERIALIZED (
             SELECT * FROM (
                 SELECT s.id, s.type, s.title, s.created_at, s.expires_at
                   FROM sends s
                  WHERE (s.created_at, s.id) < ($5, $6) AND {of_sender} AND {of_type} AND {of_recipient}
                  ORDER BY s.created_at DESC, s.id DESC LIMIT {most}) AS newest
              ORDER BY created_at DESC, id DESC LIMIT $7
         ) {}",
        include_str!("history.sql")
    )
}

fn past_send(row: &PgRow) -> Result<PastSend, StoreError> {
    Ok(PastSend {
        place: Place { created_at_ms: column(row, "created_at")?, id: SendId::from_uuid(column(row, "id")?) },
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
        expired_at_ms: column(row, "expired_at")?,
        collapsed_at_ms: column(row, "collapsed_at")?,
    })
}
