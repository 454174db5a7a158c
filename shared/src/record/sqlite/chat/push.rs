//! Messages that are due to be pushed, in SQLite.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::rows;
use crate::chat::message::Message;
use crate::chat::messages::{DueMessage, MAX_PUSHED_MEMBERS, Recipients};
use crate::chat::{MAX_SMALL, MIN_PUSH_INTERVAL_MS};
use crate::clock::At;
use crate::ids::{ChatId, UserId};
use crate::record::sqlite::delivery::due::delay_when_due_ms;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::{connection, json_list, limit, one_more_than, trace};
use crate::record::sqlite::statement::{all, execute, first};
use crate::record::sqlite::store::SqliteRecord;
use crate::record::sqlite::web_push::absent::{self, Span};
use crate::telemetry::trace::TraceParent;

impl SqliteRecord {
    pub(super) async fn try_mark_pushed(&self, messages: &[(ChatId, i64)]) -> Result<(), Failure> {
        if messages.is_empty() {
            return Ok(());
        }
        let pushed: Vec<Value> = messages
            .iter()
            .map(|(chat, seq)| json!({"chat": chat.as_uuid().simple().to_string(), "seq": seq}))
            .collect();
        let pushed = json_list(&pushed);
        self.write(move |db| {
            let sql = "UPDATE messages SET push_at = NULL
                         FROM json_each(?1) j WHERE chat_id = unhex(j.value ->> 'chat') AND seq = j.value ->> 'seq'";
            execute(db, sql, params![pushed])?;
            Ok(())
        })
        .await
    }

    pub(super) async fn try_mark_partly_pushed(
        &self,
        chat: ChatId,
        seq: i64,
        through: i64,
        at: At,
    ) -> Result<(), Failure> {
        self.write(move |db| {
            let sql = "UPDATE messages SET pushed_through = max(pushed_through, ?3), push_at = ?4, push_attempts = 0
                        WHERE chat_id = ?1 AND seq = ?2 AND push_at IS NOT NULL";
            execute(db, sql, params![chat.as_bytes().as_slice(), seq, through, at.process_ms()])?;
            Ok(())
        })
        .await
    }

    pub(super) async fn try_take_due_messages(&self, max: usize, at: At) -> Result<Vec<DueMessage>, Failure> {
        let taken = self.write(move |db| {
            let now_ms = at.process_ms();
            let sql = "SELECT chat_id, seq, pushed_through, push_attempts,
                              id AS message_id, sender_id, client_id, body, data, created_at, erased_at, traceparent
                         FROM messages WHERE push_at <= ?1 ORDER BY push_at, chat_id, seq LIMIT ?2";
            let found = all(db, sql, params![now_ms, limit(max)], found)?;
            let steps = decide(db, &found, now_ms)?;
            let mut due = Vec::new();
            for (found, step) in found.into_iter().zip(steps) {
                match step {
                    Step::Settle => set_push_at(db, found.chat, found.seq, None)?,
                    Step::WaitUntil(next_ms) => set_push_at(db, found.chat, found.seq, Some(next_ms))?,
                    Step::Push => due.extend(take(db, found, now_ms)?),
                }
            }
            Ok(due)
        });
        let mut due = taken.await?;
        // In the order in which the members see them, even if earlier ones were taken more often.
        due.sort_by_key(|due| (due.message.chat, due.message.seq));
        Ok(due)
    }
}

/// A message that is due.
struct Found {
    chat: ChatId,
    seq: i64,
    pushed_through: i64,
    push_attempts: i64,
    /// An error if it cannot be read, which is no matter unless it is to be pushed.
    message: Result<Message, Failure>,
    trace: Option<TraceParent>,
}

fn found(row: &Row<'_>) -> Result<Found, Failure> {
    let chat = rows::chat_id(row, "chat_id")?;
    Ok(Found {
        chat,
        seq: row.get("seq")?,
        pushed_through: row.get("pushed_through")?,
        push_attempts: row.get("push_attempts")?,
        message: rows::message(row, chat, "created_at"),
        trace: trace(row)?,
    })
}

/// Where a large chat stands.
pub(crate) struct Pace {
    last_seq: i64,
    /// When a message was last pushed.
    pushed_at: i64,
}

impl Pace {
    /// Whether the next message has to wait. A time that is far ahead comes from a clock that was set back since, and holds
    /// nothing up.
    pub(super) fn holds_up(&self, now_ms: i64) -> bool {
        (now_ms - self.pushed_at).abs() < MIN_PUSH_INTERVAL_MS
    }

    /// When the next message may be pushed.
    pub(super) fn next_ms(&self) -> i64 {
        self.pushed_at + MIN_PUSH_INTERVAL_MS
    }
}

/// `None` if it is a small chat, whose messages never wait.
pub(crate) fn pace(db: &Connection, chat: ChatId) -> Result<Option<Pace>, Failure> {
    let sql = "SELECT last_seq, pushed_at FROM chats
                WHERE id = ?1
                  AND (SELECT count(*) FROM (SELECT 1 FROM chat_members WHERE chat_id = ?1 LIMIT ?2 + 1)) > ?2";
    first(db, sql, params![chat.as_bytes().as_slice(), MAX_SMALL], |row| {
        Ok(Pace { last_seq: row.get("last_seq")?, pushed_at: row.get("pushed_at")? })
    })
}

/// Notes that a message of a large chat is pushed now.
pub(super) fn set_pushed_at(db: &Connection, chat: ChatId, now_ms: i64) -> Result<(), Failure> {
    let sql = "UPDATE chats SET pushed_at = ?2 WHERE id = ?1";
    execute(db, sql, params![chat.as_bytes().as_slice(), now_ms])?;
    Ok(())
}

/// What becomes of a message that is due.
#[derive(Clone, Copy)]
enum Step {
    Push,
    WaitUntil(i64),
    /// A later message of a large chat is pushed instead.
    Settle,
}

/// Decides for each message. In a large chat, a message that some members got goes on, so that all get one however many
/// follow. Otherwise the last message is next, once the interval has passed. Earlier ones are settled by it; a later one waits.
fn decide(db: &Connection, due: &[Found], now_ms: i64) -> Result<Vec<Step>, Failure> {
    let mut by_chat: BTreeMap<ChatId, Vec<(usize, i64, i64)>> = BTreeMap::new();
    for (index, found) in due.iter().enumerate() {
        by_chat.entry(found.chat).or_default().push((index, found.seq, found.pushed_through));
    }
    let mut steps = vec![Step::Push; due.len()];
    for (chat, messages) in by_chat {
        let Some(pace) = pace(db, chat)? else { continue };
        let furthest = messages.iter().map(|(_, seq, through)| (*through, *seq)).max();
        for (index, seq, through) in messages {
            let is_furthest = furthest == Some((through, seq));
            steps[index] =
                if furthest.is_some_and(|(_, furthest)| seq < furthest) || through == 0 && seq < pace.last_seq {
                    Step::Settle
                } else if !is_furthest {
                    Step::WaitUntil(now_ms + MIN_PUSH_INTERVAL_MS)
                } else if through == 0 && pace.holds_up(now_ms) {
                    Step::WaitUntil(pace.next_ms())
                } else {
                    set_pushed_at(db, chat, now_ms)?;
                    Step::Push
                };
        }
    }
    Ok(steps)
}

fn set_push_at(db: &Connection, chat: ChatId, seq: i64, push_at: Option<i64>) -> Result<(), Failure> {
    let sql = "UPDATE messages SET push_at = ?3 WHERE chat_id = ?1 AND seq = ?2";
    execute(db, sql, params![chat.as_bytes().as_slice(), seq, push_at])?;
    Ok(())
}

/// Takes a message to be pushed now; `None` if no connected member waits for it.
fn take(db: &Connection, found: Found, now_ms: i64) -> Result<Option<DueMessage>, Failure> {
    let Found { chat, seq, .. } = found;
    let recipients = recipients(db, chat, None, found.pushed_through, now_ms)?;
    let push_at = (!recipients.connections.is_empty()).then_some(now_ms + delay_when_due_ms(found.push_attempts));
    let sql = "UPDATE messages SET push_at = ?3, push_attempts = push_attempts + 1 WHERE chat_id = ?1 AND seq = ?2";
    execute(db, sql, params![chat.as_bytes().as_slice(), seq, push_at])?;
    if let Ok(message) = &found.message {
        let span = Span { after: found.pushed_through, through: recipients.continues_after };
        absent::tell_missed(db, message, &span, now_ms)?;
    }
    if push_at.is_none() {
        return Ok(None);
    }
    match found.message {
        Ok(message) => Ok(Some(DueMessage { message, recipients, trace: found.trace })),
        Err(error) => {
            // The others must not wait for it. It cannot be read in the history either.
            tracing::error!(%chat, seq, ?error, "a message cannot be read, and so is not pushed");
            Ok(None)
        }
    }
}

/// Whom to push a message to: the connected members after the one with this number, by joining, the sender before all.
pub(crate) fn recipients(
    db: &Connection,
    chat: ChatId,
    sender: Option<&UserId>,
    after: i64,
    now_ms: i64,
) -> Result<Recipients, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT m.member, c.id, c.user_id, c.connected_at, c.token_expires_at
           FROM (SELECT m.member, m.user_id, coalesce(m.user_id = ?4, FALSE) AS is_sender FROM chat_members m
                  WHERE m.chat_id = ?1 AND m.member > ?3
                    AND EXISTS (SELECT 1 FROM connections c
                                 WHERE c.user_id = m.user_id AND c.token_expires_at > ?2)
                  ORDER BY is_sender DESC, m.member LIMIT ?5) AS m
           JOIN connections c ON c.user_id = m.user_id AND c.token_expires_at > ?2
          ORDER BY m.is_sender DESC, m.member, c.connected_at, c.id",
    )?;
    // One member more than is pushed to, to see whether more follow.
    let most = one_more_than(MAX_PUSHED_MEMBERS);
    let sender = sender.map(UserId::as_str);
    let mut found = statement.query(params![chat.as_bytes().as_slice(), now_ms, after, sender, most])?;
    let (mut recipients, mut last, mut members) = (Recipients::default(), None, 0);
    while let Some(row) = found.next()? {
        let member: i64 = row.get("member")?;
        if last != Some(member) {
            if members == MAX_PUSHED_MEMBERS {
                recipients.continues_after = last;
                break;
            }
            (last, members) = (Some(member), members + 1);
        }
        recipients.connections.push(connection(row)?);
    }
    Ok(recipients)
}
