//! Fast accepts in SQLite: what decides on them, and writing what logs have.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::chat::messages::{self, State};
use super::chat::push;
use super::delivery::materialise::{StoredSend, materialise};
use super::failure::Failure;
use super::inbox::sends;
use super::rows;
use super::store::{SqliteRecord, commit};
use crate::chat::messages::{Appended, NewMessage};
use crate::chat::{Refusal, Status};
use crate::clock::At;
use crate::error::StoreError;
use crate::fast::logged::{LoggedMessage, LoggedSend};
use crate::fast::{CheckedMessage, CheckedSend, FastRecord};
use crate::ids::{ChatId, MessageId, SendId, UserId};
use crate::inbox::send::Due;
use crate::inbox::sends::Append;

#[async_trait]
impl FastRecord for SqliteRecord {
    async fn fast_since(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.try_fast_since().await?)
    }

    async fn use_fast(&self, at: At) -> Result<(), StoreError> {
        Ok(self.try_use_fast(at.process_ms()).await?)
    }

    async fn check_send(&self, send: SendId, recipient: &UserId, at: At) -> Result<CheckedSend, StoreError> {
        Ok(self.try_check_send(send, recipient, at.process_ms()).await?)
    }

    async fn check_message(&self, new: &NewMessage<'_>, at: At) -> Result<CheckedMessage, StoreError> {
        Ok(self.try_check_message(new, at.process_ms()).await?)
    }

    async fn write_sends(&self, sends: &[LoggedSend], at: At) -> Result<Vec<SendId>, StoreError> {
        Ok(self.try_write_sends(sends, at.process_ms()).await?)
    }

    async fn write_messages(&self, messages: &[LoggedMessage], at: At) -> Result<Vec<MessageId>, StoreError> {
        Ok(self.try_write_messages(messages, at.process_ms()).await?)
    }
}

impl SqliteRecord {
    async fn try_fast_since(&self) -> Result<Option<i64>, Failure> {
        let since = sqlx::query_scalar("SELECT since FROM fast_accepts");
        Ok(since.fetch_optional(&mut *self.reader().await?).await?)
    }

    async fn try_use_fast(&self, now_ms: i64) -> Result<(), Failure> {
        let mut db = self.write().await?;
        let query =
            sqlx::query("INSERT INTO fast_accepts (only_row, since) VALUES (1, ?1) ON CONFLICT (only_row) DO NOTHING");
        query.bind(now_ms).execute(&mut *db).await?;
        commit(db).await
    }

    async fn try_check_send(&self, send: SendId, recipient: &UserId, now_ms: i64) -> Result<CheckedSend, Failure> {
        let mut db = self.read().await?;
        let first = sends::first_answer(&mut db, send).await?;
        let mut connections = rows::live_connections(&mut db, &rows::json_list(&[recipient]), now_ms).await?;
        Ok(CheckedSend { first, connections: connections.remove(recipient).unwrap_or_default() })
    }

    async fn try_check_message(&self, new: &NewMessage<'_>, now_ms: i64) -> Result<CheckedMessage, Failure> {
        let mut db = self.read().await?;
        let Some(sender) = messages::state(&mut db, new.chat, new.sender).await? else {
            return Ok(CheckedMessage::Decided(Appended::Refused(Refusal::NotAMember)));
        };
        if let Some(first) = messages::message_of(&mut db, new).await? {
            return Ok(CheckedMessage::Decided(Appended::repeat(first, new)));
        }
        Ok(match sender.status {
            Status::Accepted if push::pace(&mut db, new.chat).await?.is_none() => {
                let recipients = push::recipients(&mut db, new.chat, Some(new.sender), 0, now_ms).await?;
                CheckedMessage::Admitted(recipients.connections)
            }
            Status::Accepted | Status::Pending => CheckedMessage::Undecided,
            Status::Declined => CheckedMessage::Decided(Appended::Refused(Refusal::of_writing(Status::Declined))),
        })
    }

    async fn try_write_sends(&self, logged: &[LoggedSend], now_ms: i64) -> Result<Vec<SendId>, Failure> {
        let mut db = self.write().await?;
        let mut conflicts = Vec::new();
        for send in logged {
            let recipients = std::slice::from_ref(&send.recipient);
            let append = Append {
                id: send.id,
                sender: &send.sender,
                fingerprint: send.fingerprint,
                content: send.content.clone(),
                recipients,
                answer: &send.answer,
                due: Due::Now,
                retention_ms: send.retention_ms,
            };
            let accepted_ms = send.accepted_at.0;
            if sends::insert_send(&mut db, &append, accepted_ms, accepted_ms).await? {
                let stored = StoredSend {
                    id: send.id,
                    content: &send.content,
                    due_and_accepted_ms: (accepted_ms, accepted_ms),
                    may_be_late: false,
                };
                materialise(&mut db, self.epoch, &stored, recipients, now_ms).await?;
                // The drain pushes it, which it would not do during the grace period.
                let query = sqlx::query(
                    "UPDATE notifications SET created_at = ?2, push_at = CASE WHEN push_at IS NOT NULL THEN ?3 END
                      WHERE send_id = ?1",
                );
                query.bind(send.id.as_bytes().as_slice()).bind(accepted_ms).bind(now_ms).execute(&mut *db).await?;
            } else {
                let first = sends::first_answer(&mut db, send.id).await?;
                conflicts.extend(first.filter(|first| first.fingerprint != send.fingerprint).map(|_| send.id));
            }
        }
        commit(db).await?;
        Ok(conflicts)
    }

    async fn try_write_messages(&self, logged: &[LoggedMessage], now_ms: i64) -> Result<Vec<MessageId>, Failure> {
        let (mut db, mut conflicts) = (self.write().await?, Vec::new());
        for message in logged {
            let is_heard = has_hearers(&mut db, message.chat, now_ms).await?;
            if !write_message(&mut db, message, is_heard.then_some(now_ms)).await? {
                conflicts.push(message.id);
            }
        }
        commit(db).await?;
        Ok(conflicts)
    }
}

/// Whether a member is connected.
async fn has_hearers(db: &mut SqliteConnection, chat: ChatId, now_ms: i64) -> Result<bool, Failure> {
    let query = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM chat_members m JOIN connections c ON c.user_id = m.user_id
                         WHERE m.chat_id = ?1 AND c.token_expires_at > ?2)",
    );
    Ok(query.bind(chat.as_bytes().as_slice()).bind(now_ms).fetch_one(db).await?)
}

/// Stores a message at the end of its chat, unless it is stored or the chat has ended. False if its id belongs to another
/// message.
async fn write_message(
    db: &mut SqliteConnection,
    message: &LoggedMessage,
    push_at: Option<i64>,
) -> Result<bool, Failure> {
    let (chat, accepted_ms) = (message.chat.as_bytes().as_slice(), message.accepted_at.0);
    let stored: Option<i64> = sqlx::query_scalar(
        "INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, created_at, push_at)
         SELECT id, last_seq + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM chats WHERE id = ?1
             ON CONFLICT (id) DO NOTHING RETURNING seq",
    )
    .bind(chat)
    .bind(message.id.as_bytes().as_slice())
    .bind(message.sender.as_str())
    .bind(&message.client_id)
    .bind(&message.body)
    .bind(message.data.get())
    .bind(accepted_ms)
    .bind(push_at)
    .fetch_optional(&mut *db)
    .await?;
    let Some(seq) = stored else {
        let other = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM messages
                             WHERE id = ?1 AND erased_at IS NULL AND (body <> ?2 OR data <> ?3))",
        );
        let other = other.bind(message.id.as_bytes().as_slice()).bind(&message.body).bind(message.data.get());
        let is_other: bool = other.fetch_one(db).await?;
        return Ok(!is_other);
    };
    sqlx::query("UPDATE chats SET last_seq = ?2, active_at = max(active_at, ?3) WHERE id = ?1")
        .bind(chat)
        .bind(seq)
        .bind(accepted_ms)
        .execute(&mut *db)
        .await?;
    // A message moves the read mark of its sender, who may have left since.
    if let Some(State { member, .. }) = messages::state(db, message.chat, &message.sender).await? {
        messages::mark(db, member, seq).await?;
    }
    Ok(true)
}
