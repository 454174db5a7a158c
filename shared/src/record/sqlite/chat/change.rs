//! Changes of chats in SQLite.

use rusqlite::{Connection as Db, params};

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
use crate::record::sqlite::statement::{execute, first, one, value};
use crate::record::sqlite::store::SqliteRecord;
use crate::record::sqlite::web_push::absent;
use crate::sockets::connections::Connection;

impl SqliteRecord {
    pub(super) async fn try_change_chat(
        &self,
        chat: ChatId,
        member: &UserId,
        change: &Change,
        at: At,
    ) -> Result<Result<Changed, Refusal>, Failure> {
        let (member, change) = (member.clone(), change.clone());
        self.write(move |db| {
            execute(db, "SAVEPOINT change", [])?;
            let changed = perform(db, chat, &member, &change, at.process_ms())?;
            // What was refused may have been tried already. The savepoint itself ends with the act.
            if changed.is_err() {
                execute(db, "ROLLBACK TO change", [])?;
            }
            Ok(changed)
        })
        .await
    }
}

/// Performs a change. If it refuses to add members, some are written already, which the caller undoes.
pub(super) fn perform(
    db: &Db,
    chat: ChatId,
    member: &UserId,
    change: &Change,
    now_ms: i64,
) -> Result<Result<Changed, Refusal>, Failure> {
    let Some(standing) = standing(db, chat, member)? else { return Ok(Err(Refusal::NotAMember)) };
    let decision = match decide(&standing, member, change) {
        Ok(decision) => decision,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let before = connections(db, chat, now_ms)?;
    let has_effect = match apply(db, chat, member, &standing, &decision, now_ms)? {
        Ok(has_effect) => has_effect,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let seen = find(db, chat, member)?;
    let after = if has_effect { connections(db, chat, now_ms)? } else { Vec::new() };
    let is_removed = |before: &Connection| has_effect && !after.iter().any(|now| now.user == before.user);
    let removed = before.into_iter().filter(is_removed).collect();
    Ok(Ok(Changed { chat: seen, has_effect, connections: after, removed }))
}

/// The chat of a member; `None` if the user is not a member.
fn standing(db: &Db, chat: ChatId, member: &UserId) -> Result<Option<Standing>, Failure> {
    let sql = "SELECT c.kind, c.status, c.created_by, c.declined_by, c.owner
                 FROM chats c JOIN chat_members m ON m.chat_id = c.id WHERE c.id = ?1 AND m.user_id = ?2";
    first(db, sql, params![chat.as_bytes().as_slice(), member.as_str()], |row| {
        Ok(Standing {
            kind: kind(row)?,
            status: status(row)?,
            created_by: user(row, "created_by")?,
            declined_by: user(row, "declined_by")?,
            owner: user(row, "owner")?,
        })
    })
}

/// Carries out a decision. Returns whether members are to be told of it.
fn apply(
    db: &Db,
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
            involve(db, chat, member)?;
            false
        }
        Decision::Respond(status) => {
            if *status == Status::Accepted {
                involve(db, chat, member)?;
            }
            if *status == Status::Declined {
                absent::close(db, chat, member, now_ms)?;
            }
            let declined_by = (*status == Status::Declined).then_some(member.as_str());
            let sql = "UPDATE chats SET status = ?2, declined_by = ?3, version = version + 1 WHERE id = ?1";
            execute(db, sql, params![id, status.name(), declined_by])? > 0
        }
        Decision::Rename(title) => {
            let sql = "UPDATE chats SET title = ?2, version = version + 1 WHERE id = ?1 AND title IS DISTINCT FROM ?2";
            execute(db, sql, params![id, title])? > 0
        }
        Decision::Add(users) => match add(db, chat, users, now_ms)? {
            Ok(added) => added > 0,
            Err(refusal) => return Ok(Err(refusal)),
        },
        Decision::Remove(users) => remove(db, chat, users, now_ms)? > 0 && raise_version(db, chat)?,
        Decision::Leave => leave(db, chat, member, standing, now_ms)?,
    };
    Ok(Ok(has_effect))
}

fn involve(db: &Db, chat: ChatId, member: &UserId) -> Result<(), Failure> {
    let sql = "UPDATE chat_members SET involved = TRUE WHERE chat_id = ?1 AND user_id = ?2";
    execute(db, sql, params![chat.as_bytes().as_slice(), member.as_str()])?;
    Ok(())
}

/// Adds members who have read everything. Returns how many were not there.
fn add(db: &Db, chat: ChatId, users: &[UserId], now_ms: i64) -> Result<Result<usize, Refusal>, Failure> {
    let id = chat.as_bytes().as_slice();
    let added = execute(
        db,
        "INSERT INTO chat_members (chat_id, user_id, joined_at, involved, read_seq)
         SELECT c.id, j.value, ?2, FALSE, c.last_seq FROM chats c, json_each(?3) j WHERE c.id = ?1 ORDER BY j.key
         ON CONFLICT (chat_id, user_id) DO NOTHING",
        params![id, now_ms, json_list(users)],
    )?;
    let sql = "SELECT count(*) FROM chat_members WHERE chat_id = ?1";
    let members = one(db, sql, params![id], value::<i64>)?;
    if usize::try_from(members).unwrap_or(usize::MAX) > MAX_MEMBERS {
        return Ok(Err(Refusal::FULL));
    }
    if added > 0 {
        raise_version(db, chat)?;
    }
    Ok(Ok(added))
}

/// Takes members out; returns how many were there.
fn remove(db: &Db, chat: ChatId, users: &[UserId], now_ms: i64) -> Result<usize, Failure> {
    for user in users {
        absent::close(db, chat, user, now_ms)?;
    }
    let sql = "DELETE FROM chat_members WHERE chat_id = ?1 AND user_id IN (SELECT value FROM json_each(?2))";
    execute(db, sql, params![chat.as_bytes().as_slice(), json_list(users)])
}

/// Takes a member out. The longest one owns the group then, and without any it ends.
fn leave(db: &Db, chat: ChatId, member: &UserId, standing: &Standing, now_ms: i64) -> Result<bool, Failure> {
    remove(db, chat, std::slice::from_ref(member), now_ms)?;
    let id = chat.as_bytes().as_slice();
    let sql = "SELECT user_id FROM chat_members WHERE chat_id = ?1 AND user_id IS NOT NULL ORDER BY member LIMIT 1";
    let Some(longest) = first(db, sql, params![id], value::<String>)? else {
        execute(db, "DELETE FROM chats WHERE id = ?1", params![id])?;
        return Ok(true);
    };
    if standing.owner.as_ref() == Some(member) {
        execute(db, "UPDATE chats SET owner = ?2 WHERE id = ?1", params![id, longest])?;
    }
    raise_version(db, chat)
}

fn raise_version(db: &Db, chat: ChatId) -> Result<bool, Failure> {
    let sql = "UPDATE chats SET version = version + 1 WHERE id = ?1";
    Ok(execute(db, sql, params![chat.as_bytes().as_slice()])? > 0)
}
