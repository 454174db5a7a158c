//! Fast accepts in SQLite: what decides on them, and writing what logs have.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::chat::messages::{self, Owned, State};
use super::chat::push;
use super::delivery::materialise::{StoredSend, materialise};
use super::failure::Failure;
use super::inbox::sends;
use super::statement::{execute, first, one, value};
use super::store::SqliteRecord;
use super::web_push::absent;
use super::{preferences, rows};
use crate::chat::messages::{Appended, NewMessage};
use crate::chat::{Refusal, Status};
use crate::clock::At;
use crate::cursor::Epoch;
use crate::error::StoreError;
use crate::fast::logged::{LoggedMessage, LoggedSend};
use crate::fast::{CheckedMessage, CheckedSend, FastRecord};
use crate::ids::{ChatId, MessageId, SendId, UserId};
use crate::inbox::notification::Priority;
use crate::inbox::send::Due;
use crate::inbox::sends::Append;

#[async_trait]
impl FastRecord for SqliteRecord {
    async fn fast_since(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.try_fast_since().await?)
    }

    async fn use_fast(&self, at: At) -> Result<(), StoreError> {
        Ok(self.try_use_fast(at).await?)
    }

    async fn check_send(
        &self,
        send: SendId,
        recipient: &UserId,
        kind: &str,
        at: At,
    ) -> Result<CheckedSend, StoreError> {
        Ok(self.try_check_send(send, recipient, kind, at).await?)
    }

    async fn check_message(&self, new: &NewMessage<'_>, at: At) -> Result<CheckedMessage, StoreError> {
        Ok(self.try_check_message(new, at).await?)
    }

    async fn write_sends(&self, sends: &[LoggedSend], at: At) -> Result<Vec<SendId>, StoreError> {
        Ok(self.try_write_sends(sends, at).await?)
    }

    async fn write_messages(&self, messages: &[LoggedMessage], at: At) -> Result<Vec<MessageId>, StoreError> {
        Ok(self.try_write_messages(messages, at).await?)
    }
}

impl SqliteRecord {
    async fn try_fast_since(&self) -> Result<Option<i64>, Failure> {
        self.read(|db| first(db, "SELECT since FROM fast_accepts", [], value)).await
    }

    async fn try_use_fast(&self, at: At) -> Result<(), Failure> {
        self.write(move |db| {
            let sql = "INSERT INTO fast_accepts (only_row, since) VALUES (1, ?1) ON CONFLICT (only_row) DO NOTHING";
            execute(db, sql, params![at.process_ms()])?;
            Ok(())
        })
        .await
    }

    async fn try_check_send(
        &self,
        send: SendId,
        recipient: &UserId,
        kind: &str,
        at: At,
    ) -> Result<CheckedSend, Failure> {
        let (recipient, kind) = (recipient.clone(), kind.to_owned());
        self.read(move |db| {
            let first = sends::first_answer(db, send)?;
            let mut connections = rows::live_connections(db, &rows::json_list(&[&recipient]), at.process_ms())?;
            let rings = preferences::of(db, &recipient)?.rings(&kind, Priority::default());
            Ok(CheckedSend { first, connections: connections.remove(&recipient).unwrap_or_default(), rings })
        })
        .await
    }

    async fn try_check_message(&self, new: &NewMessage<'_>, at: At) -> Result<CheckedMessage, Failure> {
        let new = Owned::from(new);
        self.read(move |db| check_message(db, &new.borrowed(), at.process_ms())).await
    }

    async fn try_write_sends(&self, logged: &[LoggedSend], at: At) -> Result<Vec<SendId>, Failure> {
        let logged = logged.to_vec();
        self.write(move |db| {
            let (epoch, now_ms, mut conflicts) = (rows::epoch(db)?, at.process_ms(), Vec::new());
            for send in &logged {
                if !write_send(db, epoch, send, now_ms)? {
                    conflicts.push(send.id);
                }
            }
            Ok(conflicts)
        })
        .await
    }

    async fn try_write_messages(&self, logged: &[LoggedMessage], at: At) -> Result<Vec<MessageId>, Failure> {
        let logged = logged.to_vec();
        self.write(move |db| {
            let (now_ms, mut conflicts) = (at.process_ms(), Vec::new());
            for message in &logged {
                let is_heard = has_hearers(db, message.chat, now_ms)?;
                if !write_message(db, message, is_heard.then_some(now_ms), now_ms)? {
                    conflicts.push(message.id);
                }
            }
            Ok(conflicts)
        })
        .await
    }
}

fn check_message(db: &Connection, new: &NewMessage<'_>, now_ms: i64) -> Result<CheckedMessage, Failure> {
    let Some(sender) = messages::state(db, new.chat, new.sender)? else {
        return Ok(CheckedMessage::Decided(Appended::Refused(Refusal::NotAMember)));
    };
    if let Some(first) = messages::message_of(db, new)? {
        return Ok(CheckedMessage::Decided(Appended::repeat(first, new)));
    }
    Ok(match sender.status {
        Status::Accepted if push::pace(db, new.chat)?.is_none() => {
            let recipients = push::recipients(db, new.chat, Some(new.sender), 0, now_ms)?;
            CheckedMessage::Admitted(recipients.connections)
        }
        Status::Accepted | Status::Pending => CheckedMessage::Undecided,
        Status::Declined => CheckedMessage::Decided(Appended::Refused(Refusal::of_writing(Status::Declined))),
    })
}

/// Stores a send and materialises it, unless it is stored. False if its id belongs to another request.
fn write_send(db: &Connection, epoch: Epoch, send: &LoggedSend, now_ms: i64) -> Result<bool, Failure> {
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
    if !sends::insert_send(db, &append, accepted_ms, accepted_ms)? {
        let first = sends::first_answer(db, send.id)?;
        return Ok(first.is_none_or(|first| first.fingerprint == send.fingerprint));
    }
    let stored = StoredSend {
        id: send.id,
        content: &send.content,
        due_and_accepted_ms: (accepted_ms, accepted_ms),
        may_be_late: false,
    };
    materialise(db, epoch, &stored, recipients, now_ms)?;
    // The drain pushes it, which it would not do during the grace period.
    let sql = "UPDATE notifications SET created_at = ?2, push_at = CASE WHEN push_at IS NOT NULL THEN ?3 END
                WHERE send_id = ?1";
    execute(db, sql, params![send.id.as_bytes().as_slice(), accepted_ms, now_ms])?;
    Ok(true)
}

/// Whether a member is connected.
fn has_hearers(db: &Connection, chat: ChatId, now_ms: i64) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (SELECT 1 FROM chat_members m JOIN connections c ON c.user_id = m.user_id
                               WHERE m.chat_id = ?1 AND c.token_expires_at > ?2)";
    one(db, sql, params![chat.as_bytes().as_slice(), now_ms], value)
}

/// Stores a message at the end of its chat, unless it is stored or the chat has ended. False if its id belongs to another
/// message.
fn write_message(db: &Connection, message: &LoggedMessage, push_at: Option<i64>, now_ms: i64) -> Result<bool, Failure> {
    let (id, chat) = (message.id.as_bytes().as_slice(), message.chat.as_bytes().as_slice());
    let LoggedMessage { sender, client_id, body, data, accepted_at, trace, .. } = message;
    let (data, accepted_ms, trace) = (data.get(), accepted_at.0, trace.map(|trace| trace.to_string()));
    let sql =
        "INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, created_at, push_at, traceparent)
               SELECT id, last_seq + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM chats WHERE id = ?1
                   ON CONFLICT (id) DO NOTHING RETURNING seq";
    let params = params![chat, id, sender.as_str(), client_id, body, data, accepted_ms, push_at, trace];
    let Some(seq) = first(db, sql, params, value::<i64>)? else {
        let sql = "SELECT EXISTS (SELECT 1 FROM messages
                                   WHERE id = ?1 AND erased_at IS NULL AND (body <> ?2 OR data <> ?3))";
        let is_other: bool = one(db, sql, params![id, body, data], value)?;
        return Ok(!is_other);
    };
    let sql = "UPDATE chats SET last_seq = ?2, active_at = max(active_at, ?3) WHERE id = ?1";
    execute(db, sql, params![chat, seq, accepted_ms])?;
    absent::tell(db, message.chat, sender, now_ms)?;
    // A message moves the read mark of its sender, who may have left since.
    if let Some(State { member, .. }) = messages::state(db, message.chat, sender)? {
        messages::mark(db, member, seq)?;
    }
    Ok(true)
}
