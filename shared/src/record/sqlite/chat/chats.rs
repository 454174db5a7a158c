//! Reading chats in SQLite, and the promise as a whole.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::rows::{self, own_chat};
use crate::chat::audience::Audience;
use crate::chat::chats::{Change, Changed, Chats, Created, Member, MemberPage, NewChat, Page};
use crate::chat::{MAX_SMALL, OwnChat, Participant, Refusal, Role, Summary};
use crate::clock::{At, Time};
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::{all_within, connection, limit, one_more_than};
use crate::record::sqlite::statement::{all, execute, first, one, value};
use crate::record::sqlite::store::SqliteRecord;
use crate::record::sqlite::web_push::absent;

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

    async fn set_hidden(&self, chat: ChatId, member: &UserId, hidden: bool, at: At) -> Result<bool, StoreError> {
        Ok(self.try_set_hidden(chat, member, hidden, at).await?)
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
pub(super) fn find(db: &Connection, chat: ChatId, member: &UserId) -> Result<Option<OwnChat>, Failure> {
    let sql = own_chat!(" WHERE chats.id = ?1 AND own.user_id = ?2");
    first(db, sql, params![chat.as_bytes().as_slice(), member.as_str()], rows::chat_of_member)
}

impl SqliteRecord {
    async fn try_find_chat(&self, chat: ChatId, member: &UserId) -> Result<Option<OwnChat>, Failure> {
        let member = member.clone();
        self.read(move |db| find(db, chat, &member)).await
    }

    async fn try_set_hidden(&self, chat: ChatId, member: &UserId, hidden: bool, at: At) -> Result<bool, Failure> {
        let member = member.clone();
        self.write(move |db| {
            let sql = if hidden {
                "UPDATE chat_members AS m
                    SET hidden_seq = c.last_seq, cleared_seq = c.last_seq, read_seq = max(m.read_seq, c.last_seq)
                   FROM chats c WHERE m.chat_id = ?1 AND m.user_id = ?2 AND c.id = m.chat_id"
            } else {
                "UPDATE chat_members SET hidden_seq = -1, cleared_seq = 0 WHERE chat_id = ?1 AND user_id = ?2"
            };
            if hidden {
                absent::close(db, chat, &member, at.process_ms())?;
            }
            Ok(execute(db, sql, params![chat.as_bytes().as_slice(), member.as_str()])? > 0)
        })
        .await
    }

    async fn try_list_chats(&self, user: &UserId, page: &Page) -> Result<(Vec<OwnChat>, bool), Failure> {
        let (user, Page { after, bounds, hidden }) = (user.clone(), page.clone());
        self.read(move |db| {
            let sql = own_chat!(
                " WHERE own.user_id = ?1 AND (own.hidden_seq >= chats.last_seq) = ?2
                    AND (?3 IS NULL OR (chats.active_at, chats.id) < (?3, ?4))
                  ORDER BY chats.active_at DESC, chats.id DESC LIMIT ?5"
            );
            let after = after.as_ref();
            let params = params![
                user.as_str(),
                hidden,
                after.map(|after| after.at_ms),
                after.map(|after| after.id.as_bytes().as_slice()),
                // One more than asked for, to see whether more follow.
                one_more_than(bounds.items)
            ];
            all_within(bounds, db, sql, params, rows::chat_of_member)
        })
        .await
    }

    async fn try_members(
        &self,
        chat: ChatId,
        member: &UserId,
        page: &MemberPage,
    ) -> Result<Option<(Vec<Member>, bool)>, Failure> {
        let (member, MemberPage { after, limit }) = (member.clone(), *page);
        self.read(move |db| {
            if !is_member(db, chat, &member)? {
                return Ok(None);
            }
            let sql = "SELECT m.member, m.user_id, coalesce(m.user_id = c.owner, FALSE) AS is_owner, m.read_seq,
                              m.joined_at
                         FROM chat_members m JOIN chats c ON c.id = m.chat_id
                        WHERE m.chat_id = ?1 AND m.member > ?2 ORDER BY m.member LIMIT ?3";
            let after = after.unwrap_or(0);
            let mut members = all(db, sql, params![chat.as_bytes().as_slice(), after, one_more_than(limit)], listed)?;
            let more = members.len() > limit;
            members.truncate(limit);
            Ok(Some((members, more)))
        })
        .await
    }

    async fn try_summaries(&self, user: &UserId, max: usize) -> Result<Vec<Summary>, Failure> {
        let user = user.clone();
        self.read(move |db| {
            let sql = "SELECT c.id, c.last_seq, m.read_seq,
                              max(c.last_seq - max(m.read_seq, m.cleared_seq), 0) AS unread, c.status, c.version
                         FROM chat_members m JOIN chats c ON c.id = m.chat_id
                        WHERE m.user_id = ?1 AND m.hidden_seq < c.last_seq
                        ORDER BY c.active_at DESC, c.id DESC LIMIT ?2";
            all(db, sql, params![user.as_str(), limit(max)], rows::summary)
        })
        .await
    }

    async fn try_audience(&self, chat: ChatId, member: &UserId, at: At) -> Result<Option<Audience>, Failure> {
        let member = member.clone();
        let found = self.read(move |db| {
            let sql = "SELECT chats.version, m.user_id AS hearer, c.id, c.user_id, c.connected_at, c.token_expires_at
                         FROM chat_members own
                         JOIN chats ON chats.id = own.chat_id
                         LEFT JOIN chat_members m
                           ON m.chat_id = own.chat_id AND m.involved AND own.involved AND chats.status = 'ACCEPTED'
                          AND (SELECT count(*) FROM chat_members WHERE chat_id = ?1) <= ?4
                         LEFT JOIN connections c ON c.user_id = m.user_id AND c.token_expires_at > ?3
                        WHERE own.chat_id = ?1 AND own.user_id = ?2
                        ORDER BY m.member, c.connected_at, c.id";
            let params = params![chat.as_bytes().as_slice(), member.as_str(), at.process_ms(), MAX_SMALL];
            all(db, sql, params, |row| {
                let is_connected = row.get::<_, Option<String>>("id")?.is_some();
                let connection = if is_connected { Some(connection(row)?) } else { None };
                Ok((row.get::<_, i64>("version")?, rows::user(row, "hearer")?, connection))
            })
        });
        let found = found.await?;
        let Some(&(version, ..)) = found.first() else { return Ok(None) };
        let mut audience = Audience { version, members: Vec::new(), connections: Vec::new() };
        for (_, hearer, connection) in found {
            // Those of one member follow one another.
            if let Some(hearer) = hearer
                && audience.members.last() != Some(&hearer)
            {
                audience.members.push(hearer);
            }
            audience.connections.extend(connection);
        }
        Ok(Some(audience))
    }
}

fn is_member(db: &Connection, chat: ChatId, user: &UserId) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (SELECT 1 FROM chat_members WHERE chat_id = ?1 AND user_id = ?2)";
    one(db, sql, params![chat.as_bytes().as_slice(), user.as_str()], value)
}

fn listed(row: &Row<'_>) -> Result<Member, Failure> {
    Ok(Member {
        number: row.get("member")?,
        participant: Participant {
            user_id: rows::user(row, "user_id")?,
            role: if row.get("is_owner")? { Role::Owner } else { Role::Member },
            read_seq: row.get("read_seq")?,
        },
        joined_at: Time(row.get("joined_at")?),
    })
}
