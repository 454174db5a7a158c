//! Changes of chats in SQLite.

use sqlx::{Row, SqliteConnection};

use super::chats::find;
use super::connections;
use super::rows::{kind, status, user};
use crate::chat::chats::{Change, Changed};
use crate::chat::decide::{Decision, Standing, decide};
use crate::chat::{MAX_MEMBERS, Refusal, Status};
use crate::clock::At;
use crate::ids::{ChatId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::json_list;
use crate::record::sqlite::store::{SqliteRecord, commit};
use crate::sockets::connections::Connection;

impl SqliteRecord {
    pub(super) async fn try_change_chat(
        &self,
        chat: ChatId,
        member: &UserId,
        change: &Change,
        at: At,
    ) -> Result<Result<Changed, Refusal>, Failure> {
        let mut db = self.write().await?;
        let changed = perform(&mut db, chat, member, change, at.process_ms()).await?;
        // What was refused may have been tried already, and is rolled back.
        if changed.is_ok() {
            commit(db).await?;
        }
        Ok(changed)
    }
}

/// Performs a change within a write transaction, which is not to be committed after a refusal.
pub(super) async fn perform(
    db: &mut SqliteConnection,
    chat: ChatId,
    member: &UserId,
    change: &Change,
    now_ms: i64,
) -> Result<Result<Changed, Refusal>, Failure> {
    let Some(standing) = standing(db, chat, member).await? else { return Ok(Err(Refusal::NotAMember)) };
    let decision = match decide(&standing, member, change) {
        Ok(decision) => decision,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let before = connections(db, chat, now_ms).await?;
    let has_effect = match apply(db, chat, member, &standing, &decision, now_ms).await? {
        Ok(has_effect) => has_effect,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let seen = find(db, chat, member).await?;
    let after = if has_effect { connections(db, chat, now_ms).await? } else { Vec::new() };
    let is_removed = |before: &Connection| has_effect && !after.iter().any(|now| now.user == before.user);
    let removed = before.into_iter().filter(is_removed).collect();
    Ok(Ok(Changed { chat: seen, has_effect, connections: after, removed }))
}

/// The chat of a member; `None` if the user is not a member.
async fn standing(db: &mut SqliteConnection, chat: ChatId, member: &UserId) -> Result<Option<Standing>, Failure> {
    let row = sqlx::query(
        "SELECT c.kind, c.status, c.created_by, c.declined_by, c.owner
           FROM chats c JOIN chat_members m ON m.chat_id = c.id WHERE c.id = ?1 AND m.user_id = ?2",
    );
    let row = row.bind(chat.as_bytes().as_slice()).bind(member.as_str()).fetch_optional(db).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Standing {
        kind: kind(&row)?,
        status: status(&row)?,
        created_by: user(&row, "created_by")?,
        declined_by: user(&row, "declined_by")?,
        owner: user(&row, "owner")?,
    }))
}

/// Carries out a decision. Returns whether members are to be told of it.
async fn apply(
    db: &mut SqliteConnection,
    chat: ChatId,
    member: &UserId,
    standing: &Standing,
    decision: &Decision<'_>,
    now_ms: i64,
) -> Result<Result<bool, Refusal>, Failure> {
    let id = chat.as_bytes().as_slice();
    let has_effect = match decision {
        Decision::Nothing => false,
        Decision::Involve => {
            involve(db, chat, member).await?;
            false
        }
        Decision::Respond(status) => {
            if *status == Status::Accepted {
                involve(db, chat, member).await?;
            }
            let declined_by = (*status == Status::Declined).then_some(member.as_str());
            let query =
                sqlx::query("UPDATE chats SET status = ?2, declined_by = ?3, version = version + 1 WHERE id = ?1");
            query.bind(id).bind(status.name()).bind(declined_by).execute(db).await?.rows_affected() > 0
        }
        Decision::Rename(title) => {
            let query = sqlx::query(
                "UPDATE chats SET title = ?2, version = version + 1 WHERE id = ?1 AND title IS DISTINCT FROM ?2",
            );
            query.bind(id).bind(*title).execute(db).await?.rows_affected() > 0
        }
        Decision::Add(users) => match add(db, chat, users, now_ms).await? {
            Ok(added) => added > 0,
            Err(refusal) => return Ok(Err(refusal)),
        },
        Decision::Remove(users) => remove(db, chat, users).await? > 0 && raise_version(db, chat).await?,
        Decision::Leave => leave(db, chat, member, standing).await?,
    };
    Ok(Ok(has_effect))
}

async fn involve(db: &mut SqliteConnection, chat: ChatId, member: &UserId) -> Result<(), Failure> {
    let query = sqlx::query("UPDATE chat_members SET involved = TRUE WHERE chat_id = ?1 AND user_id = ?2");
    query.bind(chat.as_bytes().as_slice()).bind(member.as_str()).execute(db).await?;
    Ok(())
}

/// Adds members who have read everything. Returns how many were not there.
async fn add(
    db: &mut SqliteConnection,
    chat: ChatId,
    users: &[UserId],
    now_ms: i64,
) -> Result<Result<u64, Refusal>, Failure> {
    let added = sqlx::query(
        "INSERT INTO chat_members (chat_id, user_id, joined_at, involved, read_seq)
         SELECT c.id, j.value, ?2, FALSE, c.last_seq FROM chats c, json_each(?3) j WHERE c.id = ?1 ORDER BY j.key
         ON CONFLICT (chat_id, user_id) DO NOTHING",
    )
    .bind(chat.as_bytes().as_slice())
    .bind(now_ms)
    .bind(json_list(users))
    .execute(&mut *db)
    .await?
    .rows_affected();
    let members = sqlx::query_scalar("SELECT count(*) FROM chat_members WHERE chat_id = ?1");
    let members: i64 = members.bind(chat.as_bytes().as_slice()).fetch_one(&mut *db).await?;
    if usize::try_from(members).unwrap_or(usize::MAX) > MAX_MEMBERS {
        return Ok(Err(Refusal::FULL));
    }
    if added > 0 {
        raise_version(db, chat).await?;
    }
    Ok(Ok(added))
}

/// Takes members out; returns how many were there.
async fn remove(db: &mut SqliteConnection, chat: ChatId, users: &[UserId]) -> Result<u64, Failure> {
    let query =
        sqlx::query("DELETE FROM chat_members WHERE chat_id = ?1 AND user_id IN (SELECT value FROM json_each(?2))");
    Ok(query.bind(chat.as_bytes().as_slice()).bind(json_list(users)).execute(db).await?.rows_affected())
}

/// Takes a member out. The longest one owns the group then, and without any it ends.
async fn leave(db: &mut SqliteConnection, chat: ChatId, member: &UserId, standing: &Standing) -> Result<bool, Failure> {
    remove(db, chat, std::slice::from_ref(member)).await?;
    let id = chat.as_bytes().as_slice();
    let longest = sqlx::query(
        "SELECT user_id FROM chat_members WHERE chat_id = ?1 AND user_id IS NOT NULL ORDER BY member LIMIT 1",
    );
    let Some(longest) = longest.bind(id).fetch_optional(&mut *db).await? else {
        sqlx::query("DELETE FROM chats WHERE id = ?1").bind(id).execute(db).await?;
        return Ok(true);
    };
    if standing.owner.as_ref() == Some(member) {
        let query = sqlx::query("UPDATE chats SET owner = ?2 WHERE id = ?1");
        query.bind(id).bind(longest.try_get::<&str, _>("user_id")?).execute(&mut *db).await?;
    }
    raise_version(db, chat).await
}

async fn raise_version(db: &mut SqliteConnection, chat: ChatId) -> Result<bool, Failure> {
    let query = sqlx::query("UPDATE chats SET version = version + 1 WHERE id = ?1");
    Ok(query.bind(chat.as_bytes().as_slice()).execute(db).await?.rows_affected() > 0)
}
