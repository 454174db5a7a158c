//! Reading rows of chats.

use rusqlite::Row;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::message::Message;
use crate::chat::{Chat, Kind, OwnChat, Participant, Role, Status, Summary};
use crate::clock::Time;
use crate::ids::{ChatId, MessageId, UserId};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows::{blob, text};

/// The statement `own_chat.sql` with a condition and an order of its own.
macro_rules! own_chat {
    ($rest:literal) => {
        concat!(include_str!("own_chat.sql"), $rest)
    };
}
pub(super) use own_chat;

/// A participant as `own_chat.sql` writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredParticipant {
    user_id: Option<String>,
    role: StoredRole,
    read_seq: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredRole {
    Owner,
    Member,
}

impl From<StoredParticipant> for Participant {
    fn from(StoredParticipant { user_id, role, read_seq }: StoredParticipant) -> Self {
        let role = match role {
            StoredRole::Owner => Role::Owner,
            StoredRole::Member => Role::Member,
        };
        Self { user_id: user_id.map(UserId::stored), role, read_seq }
    }
}

/// A row of `own_chat.sql`.
pub(super) fn chat_of_member(row: &Row<'_>) -> Result<OwnChat, Failure> {
    let id = chat_id(row, "id")?;
    let participants: Vec<StoredParticipant> =
        serde_json::from_str(text(row, "participants")?).map_err(|_| broken("chat_members"))?;
    let last_message = match row.get::<_, Option<i64>>("seq")? {
        Some(_) => Some(message(row, id, "message_created_at")?),
        None => None,
    };
    Ok(OwnChat {
        chat: Chat {
            id,
            kind: kind(row)?,
            title: row.get("title")?,
            status: status(row)?,
            participants: participants.into_iter().map(Participant::from).collect(),
            member_count: row.get("member_count")?,
            created_by: user(row, "created_by")?,
            created_at: Time(row.get("created_at")?),
            version: row.get("version")?,
            last_seq: row.get("last_seq")?,
        },
        last_message,
        read_seq: row.get("read_seq")?,
        unread: row.get("unread")?,
        hidden: row.get("is_hidden")?,
        active_at: Time(row.get("active_at")?),
    })
}

/// Columns: id, last_seq, read_seq, unread, status, version.
pub(super) fn summary(row: &Row<'_>) -> Result<Summary, Failure> {
    Ok(Summary {
        chat_id: chat_id(row, "id")?,
        last_seq: row.get("last_seq")?,
        read_seq: row.get("read_seq")?,
        unread: row.get("unread")?,
        status: status(row)?,
        version: row.get("version")?,
    })
}

/// Columns: seq, message_id, sender_id, client_id, body, data, erased_at, and the time of storing under the given name.
pub(super) fn message(row: &Row<'_>, chat: ChatId, created_at: &str) -> Result<Message, Failure> {
    let id = blob(row, "message_id")?;
    let data: String = row.get("data")?;
    Ok(Message {
        id: MessageId::from_bytes(id).ok_or_else(|| broken("messages.id"))?,
        chat,
        seq: row.get("seq")?,
        sender: user(row, "sender_id")?,
        client_id: row.get("client_id")?,
        body: row.get("body")?,
        data: RawValue::from_string(data).map_err(|_| broken("messages.data"))?,
        created_at: Time(row.get(created_at)?),
        is_erased: row.get::<_, Option<i64>>("erased_at")?.is_some(),
    })
}

/// A column that names a chat.
pub(super) fn chat_id(row: &Row<'_>, name: &str) -> Result<ChatId, Failure> {
    let id = blob(row, name)?;
    ChatId::from_bytes(id).ok_or_else(|| broken("chats.id"))
}

/// Column: kind.
pub(super) fn kind(row: &Row<'_>) -> Result<Kind, Failure> {
    Kind::from_name(text(row, "kind")?).ok_or_else(|| broken("chats.kind"))
}

/// Column: status.
pub(super) fn status(row: &Row<'_>) -> Result<Status, Failure> {
    Status::from_name(text(row, "status")?).ok_or_else(|| broken("chats.status"))
}

/// A column that names a user, unless that user was erased.
pub(super) fn user(row: &Row<'_>, name: &str) -> Result<Option<UserId>, Failure> {
    Ok(row.get::<_, Option<String>>(name)?.map(UserId::stored))
}
