//! Changes of chats in Postgres. Each is a transaction that locks the members that it concerns, in the order of their ids,
//! and then the chat, as every other statement does; so it meets appends of these members without a deadlock.

use sqlx::postgres::PgRow;

use super::chats::find;
use super::connections;
use super::rows::{self, texts};
use crate::chat::chats::{Change, Changed};
use crate::chat::decide::{Decision, Standing, decide};
use crate::chat::{Kind, MAX_MEMBERS, Refusal, Status};
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, broken, column, limit};
use crate::record::postgres::sql::sql;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run, begin, commit};
use crate::record::postgres::web_push::digests::close_digests;
use crate::sockets::connections::Connection;

impl PostgresRecord {
    pub(super) async fn try_change_chat(
        &self,
        chat: ChatId,
        member: &UserId,
        change: &Change,
        at: At,
    ) -> Result<Result<Changed, Refusal>, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        let Some(standing) = lock(&mut transaction, chat, member, change).await? else {
            return Ok(Err(Refusal::NotAMember));
        };
        let decision = match decide(&standing, member, change) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let before = connections(&mut transaction, chat, at).await?;
        let has_effect = match perform(&mut transaction, chat, member, &standing, &decision, at).await? {
            Ok(has_effect) => has_effect,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let seen = find(&mut transaction, chat, member).await?;
        let after = if has_effect { connections(&mut transaction, chat, at).await? } else { Vec::new() };
        commit(transaction).await?;
        let is_removed = |before: &Connection| has_effect && !after.iter().any(|now| now.user == before.user);
        let removed = before.into_iter().filter(is_removed).collect();
        Ok(Ok(Changed { chat: seen, has_effect, connections: after, removed }))
    }
}

/// Locks the member, those whom it removes, and the chat. `None` if it is not a member.
async fn lock(db: &mut Db<'_>, chat: ChatId, member: &UserId, change: &Change) -> Result<Option<Standing>, Failure> {
    let removed = if let Change::Remove(users) = change { users.as_slice() } else { &[] };
    let members = sqlx::query(
        "SELECT user_id FROM chat_members WHERE chat_id = $1 AND (user_id = $2 OR user_id = ANY ($3))
          ORDER BY user_id FOR UPDATE",
    );
    let members = members.bind(chat.as_uuid()).bind(member.as_str()).bind(texts(removed)).all(db).await?;
    let names = members.iter().map(|row| column::<&str>(row, "user_id")).collect::<Result<Vec<_>, _>>()?;
    if !names.contains(&member.as_str()) {
        return Ok(None);
    }
    let chat = sqlx::query("SELECT kind, status, created_by, declined_by, owner FROM chats WHERE id = $1 FOR UPDATE")
        .bind(chat.as_uuid());
    Ok(chat.optional(db).await?.map(|row| standing(&row)).transpose()?)
}

fn standing(row: &PgRow) -> Result<Standing, StoreError> {
    Ok(Standing {
        kind: Kind::from_name(column(row, "kind")?).ok_or_else(|| broken("chats.kind"))?,
        status: rows::status(row)?,
        created_by: rows::user(row, "created_by")?,
        declined_by: rows::user(row, "declined_by")?,
        owner: rows::user(row, "owner")?,
    })
}

/// Performs a change whose rows are locked. Returns whether members are to be told of it.
async fn perform(
    db: &mut Db<'_>,
    chat: ChatId,
    member: &UserId,
    standing: &Standing,
    decision: &Decision<'_>,
    at: At,
) -> Result<Result<bool, Refusal>, Failure> {
    let id = chat.as_uuid();
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
            if *status == Status::Declined {
                close_digests(db, chat, std::slice::from_ref(member), at).await?;
            }
            let query =
                sqlx::query("UPDATE chats SET status = $2, declined_by = $3, version = version + 1 WHERE id = $1");
            query.bind(id).bind(status.name()).bind(declined_by).run(db).await? > 0
        }
        Decision::Rename(title) => {
            let query = sqlx::query(
                "UPDATE chats SET title = $2, version = version + 1 WHERE id = $1 AND title IS DISTINCT FROM $2",
            );
            query.bind(id).bind(title).run(db).await? > 0
        }
        Decision::Add(users) => match add(db, chat, users, at).await? {
            Ok(added) => added > 0,
            Err(refusal) => return Ok(Err(refusal)),
        },
        Decision::Remove(users) => remove(db, chat, users, at).await? > 0 && raise_version(db, chat).await?,
        Decision::Leave => leave(db, chat, member, standing, at).await?,
    };
    Ok(Ok(has_effect))
}

async fn involve(db: &mut Db<'_>, chat: ChatId, member: &UserId) -> Result<(), Failure> {
    let query = sqlx::query("UPDATE chat_members SET involved = true WHERE chat_id = $1 AND user_id = $2");
    query.bind(chat.as_uuid()).bind(member.as_str()).run(db).await?;
    Ok(())
}

/// Adds members who have read everything. Returns how many were not there.
async fn add(db: &mut Db<'_>, chat: ChatId, users: &[UserId], at: At) -> Result<Result<usize, Refusal>, Failure> {
    let query = sqlx::query(sql!(
        (" INSERT INTO chat_members (chat_id, user_id, joined_at, involved, read_seq)
           SELECT chats.id, joining.user_id, clock.now_ms, false, chats.last_seq
             FROM clock, chats, unnest($3::text[]) WITH ORDINALITY AS joining (user_id, place)
            WHERE chats.id = $2
            ORDER BY joining.place
           ON CONFLICT (chat_id, user_id) DO NOTHING")
    ));
    let added = query.bind(at_ms(at)).bind(chat.as_uuid()).bind(texts(users)).run(db).await?;
    let count = sqlx::query("SELECT count(*) AS members FROM chat_members WHERE chat_id = $1");
    let members: i64 = column(&count.bind(chat.as_uuid()).one(db).await?, "members")?;
    if members > limit(MAX_MEMBERS) {
        return Ok(Err(Refusal::FULL));
    }
    if added > 0 {
        raise_version(db, chat).await?;
    }
    Ok(Ok(added))
}

/// Takes members out; returns how many were there.
async fn remove(db: &mut Db<'_>, chat: ChatId, users: &[UserId], at: At) -> Result<usize, Failure> {
    let query = sqlx::query("DELETE FROM chat_members WHERE chat_id = $1 AND user_id = ANY ($2)");
    let removed = query.bind(chat.as_uuid()).bind(texts(users)).run(db).await?;
    close_digests(db, chat, users, at).await?;
    Ok(removed)
}

/// Takes a member out. The longest one owns the group then, and without any it ends.
async fn leave(db: &mut Db<'_>, chat: ChatId, member: &UserId, standing: &Standing, at: At) -> Result<bool, Failure> {
    remove(db, chat, std::slice::from_ref(member), at).await?;
    let longest = sqlx::query(
        "SELECT user_id FROM chat_members WHERE chat_id = $1 AND user_id IS NOT NULL ORDER BY member LIMIT 1",
    );
    let longest = longest.bind(chat.as_uuid()).optional(db).await?;
    let Some(longest) = longest else {
        sqlx::query("DELETE FROM chats WHERE id = $1").bind(chat.as_uuid()).run(db).await?;
        return Ok(true);
    };
    if standing.owner.as_ref() == Some(member) {
        let query = sqlx::query("UPDATE chats SET owner = $2 WHERE id = $1");
        query.bind(chat.as_uuid()).bind(column::<&str>(&longest, "user_id")?).run(db).await?;
    }
    raise_version(db, chat).await
}

async fn raise_version(db: &mut Db<'_>, chat: ChatId) -> Result<bool, Failure> {
    let query = sqlx::query("UPDATE chats SET version = version + 1 WHERE id = $1");
    Ok(query.bind(chat.as_uuid()).run(db).await? > 0)
}
