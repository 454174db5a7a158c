//! Messages and read marks in SQLite.

use async_trait::async_trait;
use serde_json::value::RawValue;
use sqlx::{Row, SqliteConnection};

use super::{push, rows};
use crate::chat::message::Message;
use crate::chat::messages::{Appended, DueMessage, History, Marked, Messages, NewMessage, Range, Recipients};
use crate::chat::{MAX_PENDING_MESSAGES, MAX_SMALL, Refusal, Status};
use crate::clock::{At, Time};
use crate::delivery::PUSH_GRACE_MS;
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::Bounds;
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows::connection;
use crate::record::sqlite::store::{SqliteRecord, commit};

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
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let Some(sender) = state(&mut db, new.chat, new.sender).await? else {
            return Ok(Appended::Refused(Refusal::NotAMember));
        };
        // Before anything that may refuse it, so that a repeat is answered even if no message is admitted now.
        if let Some(first) = message_of(&mut db, new).await? {
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
        let recipients = push::recipients(&mut db, new.chat, Some(new.sender), 0, now_ms).await?;
        // Without recipients it is never due to be pushed.
        let (recipients, push_at) = match push::pace(&mut db, new.chat).await? {
            _ if recipients.connections.is_empty() => (recipients, None),
            Some(pace) if pace.holds_up(now_ms) => {
                (Recipients { waits: true, ..Recipients::default() }, Some(pace.next_ms()))
            }
            pace => {
                if pace.is_some() {
                    push::set_pushed_at(&mut db, new.chat, now_ms).await?;
                }
                (recipients, Some(now_ms + PUSH_GRACE_MS))
            }
        };
        let message = insert(&mut db, new, &sender, push_at, now_ms).await?;
        commit(db).await?;
        Ok(Appended::Stored { message, recipients })
    }

    async fn try_first(&self, new: &NewMessage<'_>) -> Result<Option<Appended>, Failure> {
        let mut db = self.read().await?;
        if state(&mut db, new.chat, new.sender).await?.is_none() {
            return Ok(None);
        }
        Ok(message_of(&mut db, new).await?.map(|first| Appended::repeat(first, new)))
    }

    async fn try_read_chat(&self, chat: ChatId, member: &UserId, seq: i64, at: At) -> Result<Option<Marked>, Failure> {
        let mut db = self.write().await?;
        let Some(own) = state(&mut db, chat, member).await? else { return Ok(None) };
        let seq = own.read_seq.max(seq.min(own.last_seq));
        mark(&mut db, own.member, seq).await?;
        let mut marked = Marked {
            seq,
            unread: own.last_seq.saturating_sub(seq.max(own.cleared_seq)).max(0),
            has_moved: seq > own.read_seq,
            own: Vec::new(),
            others: Vec::new(),
        };
        if marked.has_moved {
            tell(&mut db, chat, &own, &mut marked, at.process_ms()).await?;
        }
        commit(db).await?;
        Ok(Some(marked))
    }
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
pub(crate) async fn state(db: &mut SqliteConnection, chat: ChatId, user: &UserId) -> Result<Option<State>, Failure> {
    let row = sqlx::query(
        "SELECT m.member, m.read_seq, m.cleared_seq, c.status, c.created_by, c.last_seq
           FROM chat_members m JOIN chats c ON c.id = m.chat_id WHERE m.chat_id = ?1 AND m.user_id = ?2",
    );
    let row = row.bind(chat.as_bytes().as_slice()).bind(user.as_str()).fetch_optional(db).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(State {
        member: row.try_get("member")?,
        read_seq: row.try_get("read_seq")?,
        cleared_seq: row.try_get("cleared_seq")?,
        status: rows::status(&row)?,
        created_by: rows::user(&row, "created_by")?,
        last_seq: row.try_get("last_seq")?,
    }))
}

/// The message that has the id of this one already.
pub(crate) async fn message_of(db: &mut SqliteConnection, new: &NewMessage<'_>) -> Result<Option<Message>, Failure> {
    let row = sqlx::query(
        "SELECT seq, id AS message_id, sender_id, client_id, body, data, created_at, erased_at FROM messages
          WHERE id = ?1",
    );
    let row = row.bind(new.id.as_bytes().as_slice()).fetch_optional(db).await?;
    row.map(|row| rows::message(&row, new.chat, "created_at")).transpose()
}

/// Stores a message as the last one of its chat.
async fn insert(
    db: &mut SqliteConnection,
    new: &NewMessage<'_>,
    sender: &State,
    push_at: Option<i64>,
    now_ms: i64,
) -> Result<Message, Failure> {
    let (chat, seq) = (new.chat.as_bytes().as_slice(), sender.last_seq + 1);
    sqlx::query(
        "INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, created_at, push_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(chat)
    .bind(seq)
    .bind(new.id.as_bytes().as_slice())
    .bind(new.sender.as_str())
    .bind(new.client_id)
    .bind(new.body)
    .bind(new.data)
    .bind(now_ms)
    .bind(push_at)
    .execute(&mut *db)
    .await?;
    sqlx::query("UPDATE chats SET last_seq = ?2, active_at = max(active_at, ?3) WHERE id = ?1")
        .bind(chat)
        .bind(seq)
        .bind(now_ms)
        .execute(&mut *db)
        .await?;
    // A message moves the read mark of its sender.
    mark(db, sender.member, seq).await?;
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
pub(crate) async fn mark(db: &mut SqliteConnection, member: i64, seq: i64) -> Result<(), Failure> {
    let query = sqlx::query(
        "UPDATE chat_members SET read_seq = max(read_seq, ?2), involved = TRUE
          WHERE member = ?1 AND (read_seq < ?2 OR NOT involved)",
    );
    query.bind(member).bind(seq).execute(db).await?;
    Ok(())
}

/// Adds who hears of a mark: the member's own devices, and in a small chat that was accepted the other members who are
/// involved.
async fn tell(
    db: &mut SqliteConnection,
    chat: ChatId,
    own: &State,
    marked: &mut Marked,
    now_ms: i64,
) -> Result<(), Failure> {
    let found = sqlx::query(
        "SELECT m.member, c.id, c.user_id, c.connected_at, c.token_expires_at
           FROM chat_members m JOIN connections c ON c.user_id = m.user_id AND c.token_expires_at > ?2
          WHERE m.chat_id = ?1
            AND (m.member = ?3
                 OR ?4 AND m.involved AND (SELECT count(*) FROM chat_members WHERE chat_id = ?1) <= ?5)
          ORDER BY c.connected_at, c.id",
    )
    .bind(chat.as_bytes().as_slice())
    .bind(now_ms)
    .bind(own.member)
    .bind(own.status == Status::Accepted)
    .bind(MAX_SMALL)
    .fetch_all(db)
    .await?;
    for row in &found {
        let is_own = row.try_get::<i64, _>("member")? == own.member;
        let heard_by = if is_own { &mut marked.own } else { &mut marked.others };
        heard_by.push(connection(row)?);
    }
    Ok(())
}
