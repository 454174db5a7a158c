//! Taking a user out of its chats.

use uuid::Uuid;

use crate::chat::Kind;
use crate::ids::{ChatId, UserId};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{broken, column, limit};
use crate::record::postgres::timeout::{Db, Run};
use crate::users::erasures::{Erased, MAX_CHANGED, MAX_CHATS, Reached};

/// Leaves chats in the order of their ids, as every erasure does.
pub(super) async fn leave_chats(db: &mut Db<'_>, user: &UserId, erased: &mut Erased) -> Result<Reached, Failure> {
    let query = sqlx::query("SELECT chat_id FROM chat_members WHERE user_id = $1 ORDER BY chat_id LIMIT $2");
    let found = query.bind(user.as_str()).bind(limit(MAX_CHATS)).all(db).await?;
    for row in &found {
        let chat: Uuid = column(row, "chat_id")?;
        erased.chats.push(ChatId::from_uuid(chat));
        if !leave(db, chat, user).await? {
            return Ok(Reached::Part);
        }
    }
    Ok(if found.len() < MAX_CHATS { Reached::End } else { Reached::Part })
}

/// Leaves a group, and stays in a direct chat as a member without an id. A chat without any other member ends, after its
/// messages; false if some of these are left.
async fn leave(db: &mut Db<'_>, chat: Uuid, user: &UserId) -> Result<bool, Failure> {
    let own = sqlx::query("SELECT FROM chat_members WHERE chat_id = $1 AND user_id = $2 FOR UPDATE");
    if own.bind(chat).bind(user.as_str()).optional(db).await?.is_none() {
        return Ok(true);
    }
    let locked = sqlx::query("SELECT kind FROM chats WHERE id = $1 FOR UPDATE").bind(chat);
    let kind = Kind::from_name(column(&locked.one(db).await?, "kind")?).ok_or_else(|| broken("chats.kind"))?;
    let longest =
        sqlx::query("SELECT user_id FROM chat_members WHERE chat_id = $1 AND user_id <> $2 ORDER BY member LIMIT 1");
    let Some(longest) = longest.bind(chat).bind(user.as_str()).optional(db).await? else {
        return end(db, chat).await;
    };
    let longest: &str = column(&longest, "user_id")?;
    let leave = match kind {
        Kind::Direct => "UPDATE chat_members SET user_id = NULL WHERE chat_id = $1 AND user_id = $2",
        Kind::Group => "DELETE FROM chat_members WHERE chat_id = $1 AND user_id = $2",
    };
    sqlx::query(leave).bind(chat).bind(user.as_str()).run(db).await?;
    let changed = sqlx::query(
        "UPDATE chats
            SET created_by = nullif(created_by, $2), declined_by = nullif(declined_by, $2),
                owner = CASE owner WHEN $2 THEN $3 ELSE owner END, version = version + 1
          WHERE id = $1",
    );
    changed.bind(chat).bind(user.as_str()).bind(longest).run(db).await?;
    Ok(true)
}

/// Deletes some messages of a chat, and with the last ones the chat; returns whether it did.
async fn end(db: &mut Db<'_>, chat: Uuid) -> Result<bool, Failure> {
    let query = sqlx::query(
        "DELETE FROM messages
          WHERE chat_id = $1 AND seq IN (SELECT seq FROM messages WHERE chat_id = $1 ORDER BY seq LIMIT $2)",
    );
    let deleted = query.bind(chat).bind(limit(MAX_CHANGED)).run(db).await?;
    if deleted >= MAX_CHANGED {
        return Ok(false);
    }
    sqlx::query("DELETE FROM chats WHERE id = $1").bind(chat).run(db).await?;
    Ok(true)
}
