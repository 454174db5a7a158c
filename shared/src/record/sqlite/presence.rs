//! Acquaintances in SQLite.

use async_trait::async_trait;
use rusqlite::{Row, params};

use crate::chat::MAX_SMALL;
use crate::clock::{At, Time};
use crate::error::StoreError;
use crate::ids::UserId;
use crate::presence::acquaintances::{Acquaintance, Acquaintances, MAX_SHARED_CHATS, SEEN_EVERY_MS};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::{connection, json_list, limit};
use crate::record::sqlite::statement::{all, execute};
use crate::record::sqlite::store::SqliteRecord;
use crate::sockets::connections::Connection;

#[async_trait]
impl Acquaintances for SqliteRecord {
    async fn visible(&self, viewer: Option<&UserId>, among: &[UserId]) -> Result<Vec<Acquaintance>, StoreError> {
        Ok(self.try_visible(viewer, among).await?)
    }

    async fn neighbours(&self, user: &UserId, max: usize, at: At) -> Result<Vec<Connection>, StoreError> {
        Ok(self.try_neighbours(user, max, at).await?)
    }

    async fn saw(&self, user: &UserId, seen_at: Time) -> Result<(), StoreError> {
        Ok(self.try_saw(user, seen_at).await?)
    }
}

impl SqliteRecord {
    async fn try_visible(&self, viewer: Option<&UserId>, among: &[UserId]) -> Result<Vec<Acquaintance>, Failure> {
        let sql = "SELECT asked.value AS user_id, seen.at
                     FROM json_each(?2) AS asked
                     LEFT JOIN last_seen seen ON seen.user_id = asked.value
                    WHERE ?1 IS NULL OR EXISTS (
                        SELECT 1 FROM chat_members other
                          JOIN chat_members own ON own.chat_id = other.chat_id AND own.member <> other.member
                          JOIN chats ON chats.id = own.chat_id AND chats.status = 'ACCEPTED'
                         WHERE other.user_id = asked.value AND own.user_id = ?1
                           AND (chats.kind = 'direct' OR own.involved AND other.involved))
                    ORDER BY asked.key";
        let viewer = viewer.map(|viewer| viewer.as_str().to_owned());
        let users: Vec<&str> = among.iter().map(UserId::as_str).collect();
        let users = json_list(&users);
        let acquaintance = |row: &Row<'_>| {
            let last_seen_at = row.get::<_, Option<i64>>("at")?.map(Time);
            Ok(Acquaintance { user: UserId::stored(row.get("user_id")?), last_seen_at })
        };
        self.read(move |db| all(db, sql, params![viewer, users], acquaintance)).await
    }

    async fn try_neighbours(&self, user: &UserId, max: usize, at: At) -> Result<Vec<Connection>, Failure> {
        let sql = "WITH small AS ( -- the chats in which others may know of the user
                       SELECT chats.id, chats.kind, chats.active_at, own.member
                         FROM chat_members own JOIN chats ON chats.id = own.chat_id
                        WHERE own.user_id = ?2 AND chats.status = 'ACCEPTED'
                          AND (chats.kind = 'direct' OR own.involved)
                          AND (SELECT count(*) FROM chat_members m WHERE m.chat_id = chats.id) <= ?4
                        ORDER BY chats.active_at DESC, chats.id LIMIT ?5
                   ), neighbour AS ( -- those who are connected, so that no one else takes a place
                       SELECT other.user_id, max(small.active_at) AS active_at
                         FROM small
                         JOIN chat_members other ON other.chat_id = small.id AND other.member <> small.member
                          AND (small.kind = 'direct' OR other.involved)
                        WHERE EXISTS (SELECT 1 FROM connections c
                                       WHERE c.user_id = other.user_id AND c.token_expires_at > ?1)
                        GROUP BY other.user_id
                        ORDER BY active_at DESC, other.user_id LIMIT ?3
                   )
                   SELECT c.id, c.user_id, c.connected_at, c.token_expires_at
                     FROM neighbour JOIN connections c ON c.user_id = neighbour.user_id AND c.token_expires_at > ?1
                    ORDER BY neighbour.active_at DESC, c.user_id, c.connected_at, c.id";
        let user = user.clone();
        self.read(move |db| {
            let params = params![at.process_ms(), user.as_str(), limit(max), MAX_SMALL, MAX_SHARED_CHATS];
            all(db, sql, params, connection)
        })
        .await
    }

    async fn try_saw(&self, user: &UserId, Time(seen_ms): Time) -> Result<(), Failure> {
        let sql = "INSERT INTO last_seen AS seen (user_id, at) VALUES (?1, ?2)
                   ON CONFLICT (user_id) DO UPDATE SET at = excluded.at WHERE seen.at <= excluded.at - ?3";
        let user = user.clone();
        self.write(move |db| {
            execute(db, sql, params![user.as_str(), seen_ms, SEEN_EVERY_MS])?;
            Ok(())
        })
        .await
    }
}
