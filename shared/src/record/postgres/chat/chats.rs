//! Reading chats in Postgres, and the promise as a whole.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::rows::{self, own_chat};
use crate::chat::audience::Audience;
use crate::chat::chats::{Change, Changed, Chats, Created, Member, MemberPage, NewChat, Page};
use crate::chat::{MAX_SMALL, OwnChat, Participant, Refusal, Role, Summary};
use crate::clock::{At, Time};
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::within;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, column, connection, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run, begin, commit};
use crate::record::postgres::web_push::digests::close_digests;

#[async_trait]
impl Chats for PostgresRecord {
    async fn create(&self, new: &NewChat<'_>, at: At) -> Result<Created, StoreError> {
        retried!(self.try_create(new, at))
    }

    async fn change(
        &self,
        chat: ChatId,
        member: &UserId,
        change: &Change,
        at: At,
    ) -> Result<Result<Changed, Refusal>, StoreError> {
        retried!(self.try_change_chat(chat, member, change, at))
    }

    async fn set_hidden(&self, chat: ChatId, member: &UserId, hidden: bool, at: At) -> Result<bool, StoreError> {
        retried!(self.try_set_hidden(chat, member, hidden, at))
    }

    async fn find(&self, chat: ChatId, member: &UserId) -> Result<Option<OwnChat>, StoreError> {
        let mut connection = self.connection().await?;
        Ok(find(&mut connection, chat, member).await?)
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
pub(super) async fn find(db: &mut Db<'_>, chat: ChatId, member: &UserId) -> Result<Option<OwnChat>, Failure> {
    let query = sqlx::query(own_chat!(" WHERE chats.id = $1 AND own.user_id = $2"));
    let row = query.bind(chat.as_uuid()).bind(member.as_str()).read_optional(db).await?;
    Ok(row.map(|row| rows::chat_of_member(&row)).transpose()?)
}

impl PostgresRecord {
    async fn try_set_hidden(&self, chat: ChatId, member: &UserId, hidden: bool, at: At) -> Result<bool, Failure> {
        let mut connection = self.connection().await?;
        if !hidden {
            let query = sqlx::query(
                "UPDATE chat_members SET hidden_seq = -1, cleared_seq = 0 WHERE chat_id = $1 AND user_id = $2",
            );
            return Ok(query.bind(chat.as_uuid()).bind(member.as_str()).run(&mut connection).await? > 0);
        }
        let mut transaction = begin(&mut connection).await?;
        let query = sqlx::query(
            "UPDATE chat_members AS m
                SET hidden_seq = c.last_seq, cleared_seq = c.last_seq, read_seq = greatest(m.read_seq, c.last_seq)
               FROM chats c WHERE m.chat_id = $1 AND m.user_id = $2 AND c.id = m.chat_id",
        );
        let is_member = query.bind(chat.as_uuid()).bind(member.as_str()).run(&mut transaction).await? > 0;
        close_digests(&mut transaction, chat, std::slice::from_ref(member), at).await?;
        commit(transaction).await?;
        Ok(is_member)
    }

    async fn try_list_chats(&self, user: &UserId, page: &Page) -> Result<(Vec<OwnChat>, bool), Failure> {
        // Rows end with the one whose size, at least, exceeds the bytes, but not with the first.
        let query = sqlx::query(concat!(
            "SELECT * FROM (
                 SELECT *, sum(least_bytes) OVER earlier - least_bytes AS bytes_before, row_number() OVER earlier AS place
                   FROM (
                       SELECT *, 300 + coalesce(octet_length(body) + octet_length(data), 0) AS least_bytes FROM (",
            own_chat!(
                " WHERE own.user_id = $1 AND (own.hidden_seq >= chats.last_seq) = $2
                    AND (chats.active_at, chats.id) < ($3, $4)
                  ORDER BY chats.active_at DESC, chats.id DESC LIMIT $5"
            ),
            ") AS page) AS sized
                 WINDOW earlier AS (ORDER BY active_at DESC, id DESC)) AS counted
              WHERE bytes_before <= $6 OR place <= 2
              ORDER BY active_at DESC, id DESC"
        ))
        .bind(user.as_str())
        .bind(page.hidden)
        .bind(page.after.map_or(i64::MAX, |after| after.at_ms))
        .bind(page.after.map_or(uuid::Uuid::max(), |after| after.id.as_uuid()))
        // One more than asked for, to see whether more follow.
        .bind(limit(page.bounds.items).saturating_add(1))
        .bind(limit(page.bounds.bytes));
        let found = query.read_all(&mut *self.connection().await?).await?;
        Ok(within(page.bounds, found.iter().map(rows::chat_of_member))?)
    }

    async fn try_members(
        &self,
        chat: ChatId,
        member: &UserId,
        page: &MemberPage,
    ) -> Result<Option<(Vec<Member>, bool)>, Failure> {
        let query = sqlx::query(
            "SELECT m.* FROM chat_members own LEFT JOIN LATERAL (
                 SELECT m.member, m.user_id, m.user_id = c.owner AS is_owner, m.read_seq, m.joined_at
                   -- With `OFFSET 0`, since to have them in order the planner might look for them among the members of all
                   -- chats.
                   FROM (SELECT * FROM chat_members WHERE chat_id = $1 OFFSET 0) AS m JOIN chats c ON c.id = m.chat_id
                  WHERE m.member > $3 ORDER BY m.member LIMIT $4) AS m ON true
              WHERE own.chat_id = $1 AND own.user_id = $2
              ORDER BY m.member",
        )
        .bind(chat.as_uuid())
        .bind(member.as_str())
        .bind(page.after.unwrap_or(0))
        .bind(limit(page.limit).saturating_add(1));
        let found = query.read_all(&mut *self.connection().await?).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let has_member = |row: &&PgRow| row.try_get::<Option<i64>, _>("member").is_ok_and(|number| number.is_some());
        let mut members = found.iter().filter(has_member).map(listed).collect::<Result<Vec<_>, _>>()?;
        let more = members.len() > page.limit;
        members.truncate(page.limit);
        Ok(Some((members, more)))
    }

    async fn try_summaries(&self, user: &UserId, max: usize) -> Result<Vec<Summary>, Failure> {
        let query = sqlx::query(
            "SELECT c.id, c.last_seq, m.read_seq, greatest(c.last_seq - greatest(m.read_seq, m.cleared_seq), 0) AS unread,
                    c.status, c.version
               FROM chat_members m JOIN chats c ON c.id = m.chat_id
              WHERE m.user_id = $1 AND m.hidden_seq < c.last_seq
              ORDER BY c.active_at DESC, c.id DESC LIMIT $2",
        );
        let query = query.bind(user.as_str()).bind(limit(max));
        let found = query.read_all(&mut *self.connection().await?).await?;
        Ok(found.iter().map(rows::summary).collect::<Result<_, _>>()?)
    }

    async fn try_audience(&self, chat: ChatId, member: &UserId, at: At) -> Result<Option<Audience>, Failure> {
        let query = sqlx::query(sql!(
            (" SELECT chats.version, m.user_id AS hearer, c.id, c.user_id, c.connected_at, c.token_expires_at
                 FROM clock CROSS JOIN chat_members own JOIN chats ON chats.id = own.chat_id
                 LEFT JOIN chat_members m
                   ON m.chat_id = own.chat_id AND m.involved AND own.involved
                  AND chats.status = 'ACCEPTED' AND (SELECT count(*) FROM chat_members WHERE chat_id = $2) <= $4
                 LEFT JOIN connections c ON c.user_id = m.user_id AND c.token_expires_at > clock.now_ms
                WHERE own.chat_id = $2 AND own.user_id = $3
                ORDER BY m.member, c.connected_at, c.id")
        ));
        let query = query.bind(at_ms(at)).bind(chat.as_uuid()).bind(member.as_str()).bind(MAX_SMALL);
        let found = query.read_all(&mut *self.connection().await?).await?;
        let Some(first) = found.first() else { return Ok(None) };
        let mut audience =
            Audience { version: column(first, "version")?, members: Vec::new(), connections: Vec::new() };
        for row in &found {
            // Those of one member follow one another.
            if let Some(hearer) = rows::user(row, "hearer")?
                && audience.members.last() != Some(&hearer)
            {
                audience.members.push(hearer);
            }
            audience.connections.extend(connection(row, "id")?);
        }
        Ok(Some(audience))
    }
}

fn listed(row: &PgRow) -> Result<Member, StoreError> {
    let is_owner = column::<Option<bool>>(row, "is_owner")? == Some(true);
    Ok(Member {
        number: column(row, "member")?,
        participant: Participant {
            user_id: rows::user(row, "user_id")?,
            role: if is_owner { Role::Owner } else { Role::Member },
            read_seq: column(row, "read_seq")?,
        },
        joined_at: Time(column(row, "joined_at")?),
    })
}
