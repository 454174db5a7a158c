//! History in SQLite: what became of sends.

use async_trait::async_trait;
use rusqlite::{Row, params};

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::history::{History, MAX_TRACED_CHUNKS, PastSend, SendPage, SendQuery, States, Trace, is_in_chunk};
use crate::page_key::PageKey;
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::all;
use crate::record::sqlite::store::SqliteRecord;

#[async_trait]
impl History for SqliteRecord {
    async fn sends(&self, query: &SendQuery, at: At) -> Result<SendPage, StoreError> {
        Ok(self.try_sends(query, at).await?)
    }

    async fn trace(&self, id: NotificationId, of: Option<&UserId>, at: At) -> Result<Option<Trace>, StoreError> {
        Ok(self.try_trace(id, of, at).await?)
    }
}

impl SqliteRecord {
    async fn try_sends(&self, query: &SendQuery, at: At) -> Result<SendPage, Failure> {
        let query = query.clone();
        self.read(move |db| {
            let (sender, recipient) = (query.sender.as_ref(), query.recipient.as_ref());
            let after_ms = query.after.map_or(i64::MAX, |after| after.at_ms);
            let after_id = query.after.map_or([u8::MAX; 16], |after| *after.id.as_bytes());
            let params = params![
                at.process_ms(),
                sender.map(UserId::as_str),
                query.kind.as_deref(),
                recipient.map(UserId::as_str),
                after_ms,
                after_id.as_slice(),
                rows::one_more_than(query.examined()),
            ];
            let found = all(db, &statement(&query), params, past_send)?;
            Ok(query.page(found))
        })
        .await
    }

    async fn try_trace(&self, id: NotificationId, of: Option<&UserId>, at: At) -> Result<Option<Trace>, Failure> {
        let of = of.cloned();
        self.read(move |db| {
            let (of, limit) = (of.as_ref().map(UserId::as_str), rows::limit(MAX_TRACED_CHUNKS));
            let mut statement = db.prepare_cached(TRACE)?;
            let mut found = statement.query(params![at.process_ms(), id.as_bytes().as_slice(), of, limit])?;
            while let Some(row) = found.next()? {
                let is_match = match row.get::<_, Option<Vec<u8>>>("send_id")? {
                    None => true,
                    Some(send) => {
                        let send = SendId::from_bytes(&send).ok_or_else(|| broken("send_chunks.send_id"))?;
                        let recipients = rows::text(row, "recipients")?;
                        is_in_chunk(id, send, recipients).ok_or_else(|| broken("send_chunks.recipients"))?
                    }
                };
                if is_match {
                    return Ok(Some(trace(row)?));
                }
            }
            Ok(None)
        })
        .await
    }
}

/// The filters that are set are part of the statement instead of being optional parameters, so that the plan fits them.
/// ?1 the time  ?2 sender  ?3 type  ?4 recipient  ?5 time and ?6 id after which  ?7 the most sends to examine
fn statement(query: &SendQuery) -> String {
    let filter = |is_set, condition, no_condition| if is_set { condition } else { no_condition };
    let of_sender = filter(query.sender.is_some(), "s.sender = ?2", "?2 IS NULL");
    let of_type = filter(query.kind.is_some(), "s.type = ?3", "?3 IS NULL");
    let of_recipient = filter(
        query.recipient.is_some(),
        "s.id IN (SELECT n.send_id FROM notifications n WHERE n.user_id = ?4
                   UNION SELECT c.send_id FROM send_chunks c, json_each(c.recipients) AS recipient
                          WHERE c.state = 'waiting' AND recipient.value = ?4
                   UNION SELECT c.send_id FROM send_chunks c, json_each(c.recipients) AS recipient
                          WHERE c.state = 'expired' AND recipient.value = ?4)",
        "?4 IS NULL",
    );
    format!(
        "WITH examined AS MATERIALIZED (
             SELECT s.id, s.type, s.title, s.created_at, s.expires_at
               FROM sends s
              WHERE (s.created_at, s.id) < (?5, ?6) AND {of_sender} AND {of_type} AND {of_recipient}
              ORDER BY s.created_at DESC, s.id DESC LIMIT ?7
         ) {}",
        include_str!("history.sql")
    )
}

/// ?1 the time  ?2 the notification  ?3 its user, or null for any  ?4 the most chunks of each state to search
const TRACE: &str = "
    WITH materialised AS MATERIALIZED (
        SELECT s.created_at AS accepted_at, n.created_at, n.offered_at, n.read_at,
               CASE WHEN n.snoozed_until IS NULL THEN n.deleted_at END AS deleted_at,
               CASE WHEN n.snoozed_until IS NOT NULL THEN n.deleted_at END AS snoozed_at, n.unsnoozed_at,
               CASE WHEN n.expires_at <= ?1 AND n.collapsed_at IS NULL THEN n.expires_at END AS expired_at,
               n.collapsed_at, n.web_pushed_at, n.web_push_failed_at
          FROM notifications n JOIN sends s ON s.id = n.send_id
         WHERE n.id = ?2 AND (?3 IS NULL OR n.user_id = ?3)
    )
    SELECT materialised.*, NULL AS send_id, NULL AS recipients FROM materialised
    UNION ALL
    -- If it has no row and no user is given: the chunks that may contain its recipient. First those that wait.
    SELECT * FROM (
        SELECT s.created_at, NULL, NULL, NULL, NULL, NULL, NULL, CASE WHEN s.expires_at <= ?1 THEN s.expires_at END,
               NULL, NULL, NULL, c.send_id, c.recipients
          FROM send_chunks c JOIN sends s ON s.id = c.send_id
         WHERE c.state = 'waiting' AND ?3 IS NULL AND NOT EXISTS (SELECT 1 FROM materialised)
         ORDER BY c.due_at LIMIT ?4)
    UNION ALL
    -- Then those that expired before they were materialised: their recipients never get a row.
    SELECT * FROM (
        SELECT s.created_at, NULL, NULL, NULL, NULL, NULL, NULL, s.expires_at, NULL, NULL, NULL, c.send_id, c.recipients
          FROM send_chunks c JOIN sends s ON s.id = c.send_id
         WHERE c.state = 'expired' AND ?3 IS NULL AND NOT EXISTS (SELECT 1 FROM materialised)
         ORDER BY c.due_at DESC LIMIT ?4)";

fn past_send(row: &Row<'_>) -> Result<PastSend, Failure> {
    let id = SendId::from_bytes(rows::blob(row, "id")?).ok_or_else(|| broken("sends.id"))?;
    Ok(PastSend {
        key: PageKey { at_ms: row.get("created_at")?, id },
        kind: row.get("type")?,
        title: row.get("title")?,
        states: States {
            waiting: row.get("waiting")?,
            offered: row.get("offered")?,
            settled: row.get("settled")?,
            expired: row.get("expired")?,
            dead: row.get("dead")?,
        },
    })
}

fn trace(row: &Row<'_>) -> Result<Trace, Failure> {
    Ok(Trace {
        accepted_at_ms: row.get("accepted_at")?,
        materialised_at_ms: row.get("created_at")?,
        offered_at_ms: row.get("offered_at")?,
        read_at_ms: row.get("read_at")?,
        deleted_at_ms: row.get("deleted_at")?,
        snoozed_at_ms: row.get("snoozed_at")?,
        unsnoozed_at_ms: row.get("unsnoozed_at")?,
        expired_at_ms: row.get("expired_at")?,
        collapsed_at_ms: row.get("collapsed_at")?,
        web_pushed_at_ms: row.get("web_pushed_at")?,
        web_push_failed_at_ms: row.get("web_push_failed_at")?,
    })
}
