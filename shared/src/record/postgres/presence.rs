//! Acquaintances in Postgres.

use async_trait::async_trait;

use crate::chat::MAX_SMALL;
use crate::clock::{At, Time};
use crate::error::StoreError;
use crate::ids::UserId;
use crate::presence::acquaintances::{Acquaintance, Acquaintances, MAX_SHARED_CHATS, SEEN_EVERY_MS};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, column, connection, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;
use crate::sockets::connections::Connection;

#[async_trait]
impl Acquaintances for PostgresRecord {
    async fn visible(&self, viewer: Option<&UserId>, among: &[UserId]) -> Result<Vec<Acquaintance>, StoreError> {
        Ok(self.try_visible(viewer, among).await?)
    }

    async fn neighbours(&self, user: &UserId, max: usize, at: At) -> Result<Vec<Connection>, StoreError> {
        Ok(self.try_neighbours(user, max, at).await?)
    }

    async fn saw(&self, user: &UserId, seen_at: Time) -> Result<(), StoreError> {
        retried!(self.try_saw(user, seen_at))
    }
}

impl PostgresRecord {
    async fn try_visible(&self, viewer: Option<&UserId>, among: &[UserId]) -> Result<Vec<Acquaintance>, Failure> {
        let query = sqlx::query(
            "SELECT asked.user_id, seen.at
               FROM unnest($2::text[]) WITH ORDINALITY AS asked (user_id, place)
               LEFT JOIN last_seen seen ON seen.user_id = asked.user_id
              WHERE $1::text IS NULL OR EXISTS (
                  SELECT FROM chat_members other
                    JOIN chat_members own ON own.chat_id = other.chat_id AND own.member <> other.member
                    JOIN chats ON chats.id = own.chat_id AND chats.status = 'ACCEPTED'
                   WHERE other.user_id = asked.user_id AND own.user_id = $1
                     AND (chats.kind = 'direct' OR own.involved AND other.involved))
              ORDER BY asked.place",
        );
        let users: Vec<&str> = among.iter().map(UserId::as_str).collect();
        let query = query.bind(viewer.map(UserId::as_str)).bind(users);
        let found = query.read_all(&mut *self.connection().await?).await?;
        let acquaintance = |row| {
            let last_seen_at = column::<Option<i64>>(row, "at")?.map(Time);
            Ok(Acquaintance { user: UserId::stored(column(row, "user_id")?), last_seen_at })
        };
        found.iter().map(acquaintance).collect()
    }

    async fn try_neighbours(&self, user: &UserId, max: usize, at: At) -> Result<Vec<Connection>, Failure> {
        let query = sqlx::query(sql!(
            (", small AS ( -- the chats in which others may know of the user
                 SELECT chats.id, chats.kind, chats.active_at, own.member, own.involved
                   FROM chat_members own JOIN chats ON chats.id = own.chat_id
                  WHERE own.user_id = $2 AND chats.status = 'ACCEPTED'
                    AND (chats.kind = 'direct' OR own.involved)
                    AND (SELECT count(*) FROM (SELECT FROM chat_members m WHERE m.chat_id = chats.id LIMIT $4 + 1) AS counted)
                        <= $4
                  ORDER BY chats.active_at DESC, chats.id LIMIT $5
             ), neighbour AS ( -- those who are connected, so that no one else takes a place
                 SELECT other.user_id, max(small.active_at) AS active_at
                   FROM clock CROSS JOIN small
                   JOIN chat_members other ON other.chat_id = small.id AND other.member <> small.member
                    AND (small.kind = 'direct' OR other.involved)
                  WHERE EXISTS (SELECT FROM connections c
                                 WHERE c.user_id = other.user_id AND c.token_expires_at > clock.now_ms)
                  GROUP BY other.user_id
                  ORDER BY active_at DESC, other.user_id LIMIT $3
             )
             SELECT c.id, c.user_id, c.connected_at, c.token_expires_at
               FROM clock CROSS JOIN neighbour
               JOIN connections c ON c.user_id = neighbour.user_id AND c.token_expires_at > clock.now_ms
              ORDER BY neighbour.active_at DESC, c.user_id, c.connected_at, c.id")
        ));
        let query = query.bind(at_ms(at)).bind(user.as_str()).bind(limit(max)).bind(MAX_SMALL).bind(MAX_SHARED_CHATS);
        let found = query.read_all(&mut *self.connection().await?).await?;
        let found: Result<Vec<Option<Connection>>, StoreError> =
            found.iter().map(|row| connection(row, "id")).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    async fn try_saw(&self, user: &UserId, Time(seen_ms): Time) -> Result<(), Failure> {
        let query = sqlx::query(
            "INSERT INTO last_seen AS seen (user_id, at) VALUES ($1, $2)
             ON CONFLICT (user_id) DO UPDATE SET at = excluded.at WHERE seen.at <= excluded.at - $3",
        );
        query.bind(user.as_str()).bind(seen_ms).bind(SEEN_EVERY_MS).run(&mut *self.connection().await?).await?;
        Ok(())
    }
}
