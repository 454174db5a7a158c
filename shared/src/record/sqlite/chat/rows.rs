//! Reading rows of chats.

use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::chat::message::Message;
use crate::chat::{Chat, Kind, OwnChat, Participant, Role, Status, Summary};
use crate::clock::Time;
use crate::ids::{ChatId, MessageId, UserId};
use crate::record::sqlite::failure::{Failure, broken};

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
pub(super) fn chat_of_member(row: &SqliteRow) -> Result<OwnChat, Failure> {
    let id = chat_id(row, "id")?;
    let participants: Vec<StoredParticipant> =
        serde_json::from_str(row.try_get("participants")?).map_err(|_| broken("chat_members"))?;
    let last_message = match row.try_get::<Option<i64>, _>("seq")? {
        Some(_) => Some(message(row, id, "message_created_at")?),
        None => None,
    };
    Ok(OwnChat {
        chat: Chat {
            id,
            kind: kind(row)?,
            title: row.try_get("title")?,
            status: status(row)?,
            participants: participants.into_iter().map(Participant::from).collect(),
            member_count: row.try_get("member_count")?,
            created_by: user(row, "created_by")?,
            created_at: Time(row.try_get("created_at")?),
            version: row.try_get("version")?,
            last_seq: row.try_get("last_seq")?,
        },
        last_message,
        read_seq: row.try_get("read_seq")?,
        unread: row.try_get("unread")?,
        hidden: row.try_get("is_hidden")?,
        active_at: Time(row.try_get("active_at")?),
    })
}

/// Columns: id, last_seq, read_seq, unread, status, version.
pub(super) fn summary(row: &SqliteRow) -> Result<Summary, Failure> {
    Ok(Summary {
        chat_id: chat_id(row, "id")?,
        last_seq: row.try_get("last_seq")?,
        read_seq: row.try_get("read_seq")?,
        unread: row.try_get("unread")?,
        status: status(row)?,
        version: row.try_get("version")?,
    })
}

/// Columns: seq, message_id, sender_id, client_id, body, data, erased_at, and the time of storing under the given name.
pub(super) fn message(row: &SqliteRow, chat: ChatId, created_at: &str) -> Result<Message, Failure> {
    let id: &[u8] = row.try_get("message_id")?;
    let data: String = row.try_get("data")?;
    Ok(Message {
        id: MessageId::from_bytes(id).ok_or_else(|| broken("messages.id"))?,
        chat,
        seq: row.try_get("seq")?,
        sender: user(row, "sender_id")?,
        client_id: row.try_get("client_id")?,
        body: row.try_get("body")?,
        data: RawValue::from_string(data).map_err(|_| broken("messages.data"))?,
        created_at: Time(row.try_get(created_at)?),
        is_erased: row.try_get::<Option<i64>, _>("erased_at")?.is_some(),
    })
}

/// A column that names a chat.
pub(super) fn chat_id(row: &SqliteRow, name: &str) -> Result<ChatId, Failure> {
    let id: &[u8] = row.try_get(name)?;
    ChatId::from_bytes(id).ok_or_else(|| broken("chats.id"))
}

/// Column: kind.
pub(super) fn kind(row: &SqliteRow) -> Result<Kind, Failure> {
    Kind::from_name(row.try_get("kind")?).ok_or_else(|| broken("chats.kind"))
}

/// Column: status.
pub(super) fn status(row: &SqliteRow) -> Result<Status, Failure> {
    Status::from_name(row.try_get("status")?).ok_or_else(|| broken("chats.status"))
}

/// A column that names a user, unless that user was erased.
pub(super) fn user(row: &SqliteRow, name: &str) -> Result<Option<UserId>, Failure> {
    Ok(row.try_get::<Option<String>, _>(name)?.map(UserId::stored))
}
