//! Messages and read marks in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use serde_json::value::RawValue;

use super::{push, rows};
use crate::chat::message::Message;
use crate::chat::messages::{Appended, DueMessage, History, Marked, Messages, NewMessage, Range, Recipients};
use crate::chat::{MAX_PENDING_MESSAGES, MAX_SMALL, Refusal, Status};
use crate::clock::{At, Time};
use crate::delivery::PUSH_GRACE_MS;
use crate::error::StoreError;
use crate::ids::{ChatId, MessageId, UserId};
use crate::inbox::bounds::Bounds;
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows::connection;
use crate::record::sqlite::statement::{all, execute, first};
use crate::record::sqlite::store::SqliteRecord;
use crate::record::sqlite::web_push::absent;
use crate::telemetry::trace::TraceParent;

#[async_trait]
impl Messages for SqliteRecord {
    async fn append(&self, new: &NewMessage<'_>, at: At) -> Result<Appended, StoreError> {
        Ok(self.try_append_message(new, at).await?)
    }

    async fn first(&self, new: &NewMessage<'_>) -> Result<Option<Appended>, StoreError> {
        Ok(self.try_first(new).await?)
    }

    async fn history(
        &self,
        chat: ChatId,
        member: &UserId,
        range: Range,
        bounds: Bounds,
        known: &[Message],
    ) -> Result<Option<History>, StoreError> {
        Ok(self.try_history(chat, member, range, bounds, known).await?)
    }

    async fn read(&self, chat: ChatId, member: &UserId, seq: i64, at: At) -> Result<Option<Marked>, StoreError> {
        Ok(self.try_read_chat(chat, member, seq, at).await?)
    }

    async fn mark_pushed(&self, messages: &[(ChatId, i64)]) -> Result<(), StoreError> {
        Ok(self.try_mark_pushed(messages).await?)
    }

    async fn mark_partly_pushed(&self, chat: ChatId, seq: i64, through: i64, at: At) -> Result<(), StoreError> {
        Ok(self.try_mark_partly_pushed(chat, seq, through, at).await?)
    }

    async fn take_due_messages(&self, limit: usize, at: At) -> Result<Vec<DueMessage>, StoreError> {
        Ok(self.try_take_due_messages(limit, at).await?)
    }
}

impl SqliteRecord {
    async fn try_append_message(&self, new: &NewMessage<'_>, at: At) -> Result<Appended, Failure> {
        let new = Owned::from(new);
        self.write(move |db| append(db, &new.borrowed(), at.process_ms())).await
    }

    async fn try_first(&self, new: &NewMessage<'_>) -> Result<Option<Appended>, Failure> {
        let new = Owned::from(new);
        self.read(move |db| {
            let new = new.borrowed();
            if state(db, new.chat, new.sender)?.is_none() {
                return Ok(None);
            }
            Ok(message_of(db, &new)?.map(|first| Appended::repeat(first, &new)))
        })
        .await
    }

    async fn try_read_chat(&self, chat: ChatId, member: &UserId, seq: i64, at: At) -> Result<Option<Marked>, Failure> {
        let member = member.clone();
        self.write(move |db| {
            let Some(own) = state(db, chat, &member)? else { return Ok(None) };
            let seq = own.read_seq.max(seq.min(own.last_seq));
            mark(db, own.member, seq)?;
            let mut marked = Marked {
                seq,
                unread: own.last_seq.saturating_sub(seq.max(own.cleared_seq)).max(0),
                has_moved: seq > own.read_seq,
                own: Vec::new(),
                others: Vec::new(),
                web_push_is_due: false,
            };
            if marked.has_moved {
                marked.web_push_is_due = marked.unread == 0 && absent::close(db, chat, &member, at.process_ms())?;
                tell(db, chat, &own, &mut marked, at.process_ms())?;
            }
            Ok(Some(marked))
        })
        .await
    }
}

/// A [`NewMessage`] that an act owns.
pub(crate) struct Owned {
    id: MessageId,
    chat: ChatId,
    sender: UserId,
    client_id: String,
    body: String,
    data: String,
    trace: Option<TraceParent>,
}

impl From<&NewMessage<'_>> for Owned {
    fn from(new: &NewMessage<'_>) -> Self {
        Self {
            id: new.id,
            chat: new.chat,
            sender: new.sender.clone(),
            client_id: new.client_id.to_owned(),
            body: new.body.to_owned(),
            data: new.data.to_owned(),
            trace: new.trace,
        }
    }
}

impl Owned {
    pub(crate) fn borrowed(&self) -> NewMessage<'_> {
        NewMessage {
            id: self.id,
            chat: self.chat,
            sender: &self.sender,
            client_id: &self.client_id,
            body: &self.body,
            data: &self.data,
            trace: self.trace,
        }
    }
}

fn append(db: &Connection, new: &NewMessage<'_>, now_ms: i64) -> Result<Appended, Failure> {
    let Some(sender) = state(db, new.chat, new.sender)? else {
        return Ok(Appended::Refused(Refusal::NotAMember));
    };
    // Before anything that may refuse it, so that a repeat is answered even if no message is admitted now.
    if let Some(first) = message_of(db, new)? {
        return Ok(Appended::repeat(first, new));
    }
    let may_write = match sender.status {
        Status::Accepted => true,
        Status::Pending => sender.created_by.as_ref() == Some(new.sender) && sender.last_seq < MAX_PENDING_MESSAGES,
        Status::Declined => false,
    };
    if !may_write {
        return Ok(Appended::Refused(Refusal::of_writing(sender.status)));
    }
    let recipients = push::recipients(db, new.chat, Some(new.sender), 0, now_ms)?;
    // Without recipients it is never due to be pushed.
    let (recipients, push_at) = match push::pace(db, new.chat)? {
        _ if recipients.connections.is_empty() => (recipients, None),
        Some(pace) if pace.holds_up(now_ms) => {
            (Recipients { waits: true, ..Recipients::default() }, Some(pace.next_ms()))
        }
        pace => {
            if pace.is_some() {
                push::set_pushed_at(db, new.chat, now_ms)?;
            }
            (recipients, Some(now_ms + PUSH_GRACE_MS))
        }
    };
    let message = insert(db, new, &sender, push_at, now_ms)?;
    let web_push_is_due = absent::tell(db, new.chat, new.sender, now_ms)?;
    Ok(Appended::Stored { message, recipients: Recipients { web_push_is_due, ..recipients } })
}

/// Where a member stands in a chat.
pub(crate) struct State {
    pub(crate) member: i64,
    read_seq: i64,
    pub(super) cleared_seq: i64,
    pub(crate) status: Status,
    created_by: Option<UserId>,
    pub(super) last_seq: i64,
}

/// `None` if the user is not a member.
pub(crate) fn state(db: &Connection, chat: ChatId, user: &UserId) -> Result<Option<State>, Failure> {
    let sql = "SELECT m.member, m.read_seq, m.cleared_seq, c.status, c.created_by, c.last_seq
                 FROM chat_members m JOIN chats c ON c.id = m.chat_id WHERE m.chat_id = ?1 AND m.user_id = ?2";
    first(db, sql, params![chat.as_bytes().as_slice(), user.as_str()], |row| {
        Ok(State {
            member: row.get("member")?,
            read_seq: row.get("read_seq")?,
            cleared_seq: row.get("cleared_seq")?,
            status: rows::status(row)?,
            created_by: rows::user(row, "created_by")?,
            last_seq: row.get("last_seq")?,
        })
    })
}

/// The message that has the id of this one already.
pub(crate) fn message_of(db: &Connection, new: &NewMessage<'_>) -> Result<Option<Message>, Failure> {
    let sql = "SELECT seq, id AS message_id, sender_id, client_id, body, data, created_at, erased_at FROM messages
                WHERE id = ?1";
    first(db, sql, params![new.id.as_bytes().as_slice()], |row| rows::message(row, new.chat, "created_at"))
}

/// Stores a message as the last one of its chat.
fn insert(
    db: &Connection,
    new: &NewMessage<'_>,
    sender: &State,
    push_at: Option<i64>,
    now_ms: i64,
) -> Result<Message, Failure> {
    let (chat, seq) = (new.chat.as_bytes().as_slice(), sender.last_seq + 1);
    let id = new.id.as_bytes().as_slice();
    let trace = new.trace.map(|trace| trace.to_string());
    execute(
        db,
        "INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, created_at, push_at, traceparent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![chat, seq, id, new.sender.as_str(), new.client_id, new.body, new.data, now_ms, push_at, trace],
    )?;
    let sql = "UPDATE chats SET last_seq = ?2, active_at = max(active_at, ?3) WHERE id = ?1";
    execute(db, sql, params![chat, seq, now_ms])?;
    // A message moves the read mark of its sender.
    mark(db, sender.member, seq)?;
    Ok(Message {
        id: new.id,
        chat: new.chat,
        seq,
        sender: Some(new.sender.clone()),
        client_id: Some(new.client_id.to_owned()),
        body: new.body.to_owned(),
        data: RawValue::from_string(new.data.to_owned()).map_err(|_| broken("messages.data"))?,
        created_at: Time(now_ms),
        is_erased: false,
    })
}

/// Moves a member's read mark, never back; the member is involved from then on.
pub(crate) fn mark(db: &Connection, member: i64, seq: i64) -> Result<(), Failure> {
    let sql = "UPDATE chat_members SET read_seq = max(read_seq, ?2), involved = TRUE
                WHERE member = ?1 AND (read_seq < ?2 OR NOT involved)";
    execute(db, sql, params![member, seq])?;
    Ok(())
}

/// Adds who hears of a mark: the member's own devices, and in a small chat that was accepted the other members who are
/// involved.
fn tell(db: &Connection, chat: ChatId, own: &State, marked: &mut Marked, now_ms: i64) -> Result<(), Failure> {
    let sql = "SELECT m.member, c.id, c.user_id, c.connected_at, c.token_expires_at
                 FROM chat_members m JOIN connections c ON c.user_id = m.user_id AND c.token_expires_at > ?2
                WHERE m.chat_id = ?1
                  AND (m.member = ?3
                       OR ?4 AND m.involved AND (SELECT count(*) FROM chat_members WHERE chat_id = ?1) <= ?5)
                ORDER BY c.connected_at, c.id";
    let is_accepted = own.status == Status::Accepted;
    let params = params![chat.as_bytes().as_slice(), now_ms, own.member, is_accepted, MAX_SMALL];
    let hearers = all(db, sql, params, |row| Ok((row.get::<_, i64>("member")?, connection(row)?)))?;
    for (member, connection) in hearers {
        let heard_by = if member == own.member { &mut marked.own } else { &mut marked.others };
        heard_by.push(connection);
    }
    Ok(())
}
