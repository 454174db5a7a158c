//! Reading rows of chats.

use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::chat::message::Message;
use crate::chat::messages::Recipients;
use crate::chat::{Chat, Kind, OwnChat, Participant, Role, Status, Summary};
use crate::clock::Time;
use crate::error::StoreError;
use crate::ids::{ChatId, MessageId, UserId};
use crate::record::postgres::rows::{broken, column, connection};

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
    is_owner: Option<bool>,
    read_seq: i64,
}

impl From<StoredParticipant> for Participant {
    fn from(stored: StoredParticipant) -> Self {
        Self {
            user_id: stored.user_id.map(UserId::stored),
            role: if stored.is_owner == Some(true) { Role::Owner } else { Role::Member },
            read_seq: stored.read_seq,
        }
    }
}

/// A row of `own_chat.sql`.
pub(super) fn chat_of_member(row: &PgRow) -> Result<OwnChat, StoreError> {
    let id = ChatId::from_uuid(column(row, "id")?);
    let participants: Option<&str> = column(row, "participants")?;
    let participants: Vec<StoredParticipant> =
        serde_json::from_str(participants.unwrap_or("[]")).map_err(|_| broken("chat_members"))?;
    let last_message = match column::<Option<i64>>(row, "seq")? {
        Some(_) => Some(message(row, id, "message_created_at")?),
        None => None,
    };
    Ok(OwnChat {
        chat: Chat {
            id,
            kind: Kind::from_name(column(row, "kind")?).ok_or_else(|| broken("chats.kind"))?,
            title: column(row, "title")?,
            status: status(row)?,
            participants: participants.into_iter().map(Participant::from).collect(),
            member_count: column(row, "member_count")?,
            created_by: user(row, "created_by")?,
            created_at: Time(column(row, "created_at")?),
            version: column(row, "version")?,
            last_seq: column(row, "last_seq")?,
        },
        last_message,
        read_seq: column(row, "read_seq")?,
        unread: column(row, "unread")?,
        hidden: column(row, "is_hidden")?,
        active_at: Time(column(row, "active_at")?),
    })
}

/// Columns: id, last_seq, read_seq, unread, status, version.
pub(super) fn summary(row: &PgRow) -> Result<Summary, StoreError> {
    Ok(Summary {
        chat_id: ChatId::from_uuid(column(row, "id")?),
        last_seq: column(row, "last_seq")?,
        read_seq: column(row, "read_seq")?,
        unread: column(row, "unread")?,
        status: status(row)?,
        version: column(row, "version")?,
    })
}

/// Columns: seq, message_id, sender_id, client_id, body, data, erased_at, and the time of storing under the given name.
pub(crate) fn message(row: &PgRow, chat: ChatId, created_at: &str) -> Result<Message, StoreError> {
    Ok(Message {
        id: MessageId::from_uuid(column(row, "message_id")?),
        chat,
        seq: column(row, "seq")?,
        sender: user(row, "sender_id")?,
        client_id: column(row, "client_id")?,
        body: column(row, "body")?,
        data: RawValue::from_string(column(row, "data")?).map_err(|_| broken("messages.data"))?,
        created_at: Time(column(row, created_at)?),
        is_erased: column::<Option<i64>>(row, "erased_at")?.is_some(),
    })
}

/// Columns: status.
pub(crate) fn status(row: &PgRow) -> Result<Status, StoreError> {
    Status::from_name(column(row, "status")?).ok_or_else(|| broken("chats.status"))
}

/// A column that names a user, unless that user was erased.
pub(super) fn user(row: &PgRow, name: &str) -> Result<Option<UserId>, StoreError> {
    Ok(column::<Option<String>>(row, name)?.map(UserId::stored))
}

/// The ids of users, as the database compares them.
pub(super) fn texts(users: &[UserId]) -> Vec<&str> {
    users.iter().map(UserId::as_str).collect()
}

/// An id as the database has it.
pub(super) fn uuids<'a>(chats: impl Iterator<Item = &'a ChatId>) -> Vec<Uuid> {
    chats.map(ChatId::as_uuid).collect()
}

/// The connections of rows in the order of `place`, of which those after `max_members` are not pushed to yet.
/// Columns: place, member, and those of a connection.
pub(super) fn recipients<'a>(
    rows: impl IntoIterator<Item = &'a PgRow>,
    max_members: usize,
) -> Result<Recipients, StoreError> {
    let max_members = i64::try_from(max_members).unwrap_or(i64::MAX);
    let (mut recipients, mut last) = (Recipients::default(), None);
    for row in rows {
        let Some(place) = column::<Option<i64>>(row, "place")? else { continue };
        if place > max_members {
            recipients.continues_after = last;
            break;
        }
        last = column(row, "member")?;
        recipients.connections.extend(connection(row, "id")?);
    }
    Ok(recipients)
}
