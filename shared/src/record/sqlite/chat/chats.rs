//! Reading chats in SQLite, and the promise as a whole.

use async_trait::async_trait;
use futures_util::StreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::rows::{self, own_chat};
use crate::chat::audience::Audience;
use crate::chat::chats::{Change, Changed, Chats, Created, Member, MemberPage, NewChat, Page};
use crate::chat::{MAX_SMALL, OwnChat, Participant, Refusal, Role, Summary};
use crate::clock::{At, Time};
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::within;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::{connection, limit, one_more_than};
use crate::record::sqlite::store::{SqliteRecord, commit};

#[async_trait]
impl Chats for SqliteRecord {
    async fn create(&self, new: &NewChat<'_>, at: At) -> Result<Created, StoreError> {
        Ok(self.try_create(new, at).await?)
    }

    async fn change(
        &self,
        chat: ChatId,
        member: &UserId,
        change: &Change,
        at: At,
    ) -> Result<Result<Changed, Refusal>, StoreError> {
        Ok(self.try_change_chat(chat, member, change, at).await?)
    }

    async fn set_hidden(&self, chat: ChatId, member: &UserId, hidden: bool) -> Result<bool, StoreError> {
        Ok(self.try_set_hidden(chat, member, hidden).await?)
    }

    async fn find(&self, chat: ChatId, member: &UserId) -> Result<Option<OwnChat>, StoreError> {
        Ok(self.try_find_chat(chat, member).await?)
    }

    async fn list(&self, user: &UserId, page: &Page) -> Result<(Vec<OwnChat>, bool), StoreError> {
        Ok(self.try_list_chats(user, page).await?)
    }

    async fn members(
        &self,
        chat: ChatId,
        member: &UserId,
        page: &MemberPage,
    ) -> Result<Option<(Vec<Member>, bool)>, StoreError> {
        Ok(self.try_members(chat, member, page).await?)
    }

    async fn summaries(&self, user: &UserId, limit: usize) -> Result<Vec<Summary>, StoreError> {
        Ok(self.try_summaries(user, limit).await?)
    }

    async fn audience(&self, chat: ChatId, member: &UserId, at: At) -> Result<Option<Audience>, StoreError> {
        Ok(self.try_audience(chat, member, at).await?)
    }
}

/// A chat as a member sees it.
pub(super) async fn find(db: &mut SqliteConnection, chat: ChatId, member: &UserId) -> Result<Option<OwnChat>, Failure> {
    let query = sqlx::query(own_chat!(" WHERE chats.id = ?1 AND own.user_id = ?2"));
    let row = query.bind(chat.as_bytes().as_slice()).bind(member.as_str()).fetch_optional(db).await?;
    row.as_ref().map(rows::chat_of_member).transpose()
}

impl SqliteRecord {
    async fn try_find_chat(&self, chat: ChatId, member: &UserId) -> Result<Option<OwnChat>, Failure> {
        find(&mut *self.reader().await?, chat, member).await
    }

    async fn try_set_hidden(&self, chat: ChatId, member: &UserId, hidden: bool) -> Result<bool, Failure> {
        let mut db = self.write().await?;
        let query = sqlx::query(if hidden {
            "UPDATE chat_members AS m
                SET hidden_seq = c.last_seq, cleared_seq = c.last_seq, read_seq = max(m.read_seq, c.last_seq)
               FROM chats c WHERE m.chat_id = ?1 AND m.user_id = ?2 AND c.id = m.chat_id"
        } else {
            "UPDATE chat_members SET hidden_seq = -1, cleared_seq = 0 WHERE chat_id = ?1 AND user_id = ?2"
        });
        let updated = query.bind(chat.as_bytes().as_slice()).bind(member.as_str()).execute(&mut *db).await?;
        commit(db).await?;
        Ok(updated.rows_affected() > 0)
    }

    async fn try_list_chats(&self, user: &UserId, page: &Page) -> Result<(Vec<OwnChat>, bool), Failure> {
        let mut db = self.reader().await?;
        let after = page.after.as_ref();
        let found = sqlx::query(own_chat!(
            " WHERE own.user_id = ?1 AND (own.hidden_seq >= chats.last_seq) = ?2
                AND (?3 IS NULL OR (chats.active_at, chats.id) < (?3, ?4))
              ORDER BY chats.active_at DESC, chats.id DESC LIMIT ?5"
        ))
        .bind(user.as_str())
        .bind(page.hidden)
        .bind(after.map(|after| after.at_ms))
        .bind(after.map(|after| after.id.as_bytes().as_slice()))
        // One more than asked for, to see whether more follow.
        .bind(one_more_than(page.bounds.items))
        .fetch(&mut *db);
        within(page.bounds, found.map(|row| rows::chat_of_member(&row?))).await
    }

    async fn try_members(
        &self,
        chat: ChatId,
        member: &UserId,
        page: &MemberPage,
    ) -> Result<Option<(Vec<Member>, bool)>, Failure> {
        let mut db = self.read().await?;
        if !is_member(&mut db, chat, member).await? {
            return Ok(None);
        }
        let found = sqlx::query(
            "SELECT m.member, m.user_id, coalesce(m.user_id = c.owner, FALSE) AS is_owner, m.read_seq, m.joined_at
               FROM chat_members m JOIN chats c ON c.id = m.chat_id
              WHERE m.chat_id = ?1 AND m.member > ?2 ORDER BY m.member LIMIT ?3",
        )
        .bind(chat.as_bytes().as_slice())
        .bind(page.after.unwrap_or(0))
        .bind(one_more_than(page.limit))
        .fetch_all(&mut *db)
        .await?;
        let mut members = found.iter().map(listed).collect::<Result<Vec<_>, _>>()?;
        let more = members.len() > page.limit;
        members.truncate(page.limit);
        Ok(Some((members, more)))
    }

    async fn try_summaries(&self, user: &UserId, max: usize) -> Result<Vec<Summary>, Failure> {
        let query = sqlx::query(
            "SELECT c.id, c.last_seq, m.read_seq, max(c.last_seq - max(m.read_seq, m.cleared_seq), 0) AS unread,
                    c.status, c.version
               FROM chat_members m JOIN chats c ON c.id = m.chat_id
              WHERE m.user_id = ?1 AND m.hidden_seq < c.last_seq
              ORDER BY c.active_at DESC, c.id DESC LIMIT ?2",
        );
        let found = query.bind(user.as_str()).bind(limit(max)).fetch_all(&mut *self.reader().await?).await?;
        found.iter().map(rows::summary).collect()
    }

    async fn try_audience(&self, chat: ChatId, member: &UserId, at: At) -> Result<Option<Audience>, Failure> {
        let found = sqlx::query(
            "SELECT chats.version, m.user_id AS hearer, c.id, c.user_id, c.connected_at, c.token_expires_at
               FROM chat_members own
               JOIN chats ON chats.id = own.chat_id
               LEFT JOIN chat_members m
                 ON m.chat_id = own.chat_id AND m.involved AND own.involved AND chats.status = 'ACCEPTED'
                AND (SELECT count(*) FROM chat_members WHERE chat_id = ?1) <= ?4
               LEFT JOIN connections c ON c.user_id = m.user_id AND c.token_expires_at > ?3
              WHERE own.chat_id = ?1 AND own.user_id = ?2
              ORDER BY m.member, c.connected_at, c.id",
        )
        .bind(chat.as_bytes().as_slice())
        .bind(member.as_str())
        .bind(at.process_ms())
        .bind(MAX_SMALL)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let Some(first) = found.first() else { return Ok(None) };
        let mut audience =
            Audience { version: first.try_get("version")?, members: Vec::new(), connections: Vec::new() };
        for row in &found {
            // Those of one member follow one another.
            if let Some(hearer) = rows::user(row, "hearer")?
                && audience.members.last() != Some(&hearer)
            {
                audience.members.push(hearer);
            }
            if row.try_get::<Option<&str>, _>("id")?.is_some() {
                audience.connections.push(connection(row)?);
            }
        }
        Ok(Some(audience))
    }
}

async fn is_member(db: &mut SqliteConnection, chat: ChatId, user: &UserId) -> Result<bool, Failure> {
    let query = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM chat_members WHERE chat_id = ?1 AND user_id = ?2)");
    Ok(query.bind(chat.as_bytes().as_slice()).bind(user.as_str()).fetch_one(db).await?)
}

fn listed(row: &SqliteRow) -> Result<Member, Failure> {
    Ok(Member {
        number: row.try_get("member")?,
        participant: Participant {
            user_id: rows::user(row, "user_id")?,
            role: if row.try_get("is_owner")? { Role::Owner } else { Role::Member },
            read_seq: row.try_get("read_seq")?,
        },
        joined_at: Time(row.try_get("joined_at")?),
    })
}
