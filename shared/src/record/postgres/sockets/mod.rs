//! Connections and tickets in Postgres.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};
use crate::record::postgres::rows::{self, Failure, at_ms, column};
use crate::record::postgres::timeout::InTime;
use crate::record::postgres::{PostgresRecord, repeated};
use crate::sockets::connections::{
    Connection, Connections, Extended, MAX_CONNECTION_AGE_MS, MAX_CONNECTIONS, MAX_SOCKET_AGE_MS, MAX_SWEPT, Online,
    Opened, Opening, Ticket,
};

/// How many statements a sweep makes at most; what is beyond waits for the next.
const MAX_SWEEPS: usize = 100;

#[async_trait]
impl Connections for PostgresRecord {
    async fn issue(&self, ticket: &Ticket, _: At) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO tickets (hash, user_id, origin, token_expires_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(ticket.hash.as_slice())
        .bind(ticket.user.as_str())
        .bind(ticket.origin.as_deref())
        .bind(ticket.token_expires_at_ms)
        .bind(ticket.expires_at_ms)
        .execute(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(|error| rows::write_failed(error).into_error())?;
        Ok(())
    }

    async fn open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, StoreError> {
        match repeated!(self.try_open(opening, at))? {
            Opened::Registered { user, .. } => {
                let displaced = repeated!(self.try_displace(&user))?;
                Ok(Opened::Registered { user, displaced })
            }
            refused => Ok(refused),
        }
    }

    async fn extend(&self, connection: &ConnectionId, hash: &[u8; 32], at: At) -> Result<Extended, StoreError> {
        let end: Option<i64> = sqlx::query_scalar(
            "WITH ticket AS (
                 DELETE FROM tickets WHERE hash = $2 RETURNING user_id, origin, token_expires_at, expires_at
             ), clock AS (
                 SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
             )
             UPDATE connections AS c SET token_expires_at = ticket.token_expires_at
               FROM ticket, clock
              WHERE c.id = $3 AND c.user_id = ticket.user_id AND c.origin IS NOT DISTINCT FROM ticket.origin
                AND ticket.expires_at > clock.now_ms AND ticket.token_expires_at > clock.now_ms
             RETURNING c.token_expires_at",
        )
        .bind(at_ms(at))
        .bind(hash.as_slice())
        .bind(connection.as_str())
        .fetch_optional(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(|error| rows::write_failed(error).into_error())?;
        Ok(end.map_or(Extended::Refused, Extended::Until))
    }

    async fn find(&self, connection: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        let row = sqlx::query("SELECT id, user_id, connected_at, token_expires_at FROM connections WHERE id = $1")
            .bind(connection.as_str())
            .fetch_optional(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::read_failed)?;
        row.map_or(Ok(None), |row| rows::connection(&row, "id"))
    }

    async fn forget(&self, connections: &[ConnectionId]) -> Result<(), StoreError> {
        if connections.is_empty() {
            return Ok(());
        }
        repeated!(self.try_forget(connections))
    }

    async fn sweep(&self, at: At) -> Result<Vec<Connection>, StoreError> {
        for _ in 1..MAX_SWEEPS {
            if let Some(ended) = repeated!(self.try_sweep(at))? {
                return Ok(ended);
            }
        }
        Ok(repeated!(self.try_sweep(at))?.unwrap_or_default())
    }

    async fn count(&self, at: At) -> Result<Online, StoreError> {
        let row = sqlx::query(
            "WITH clock AS MATERIALIZED (
                 SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
             )
             SELECT count(*) AS connections, count(DISTINCT user_id) AS users FROM connections, clock
              WHERE token_expires_at > clock.now_ms AND connected_at > clock.now_ms - $2",
        )
        .bind(at_ms(at))
        .bind(MAX_SOCKET_AGE_MS)
        .fetch_one(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::read_failed)?;
        Ok(Online { connections: rows::count(&row, "connections")?, users: rows::count(&row, "users")? })
    }
}

impl PostgresRecord {
    async fn try_open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, Failure> {
        let row = sqlx::query(include_str!("open.sql"))
            .bind(at_ms(at))
            .bind(opening.ticket_hash.as_slice())
            .bind(opening.connection.as_str())
            .bind(opening.origin)
            .fetch_one(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        let Some(user) = column::<Option<String>>(&row, "user_id")? else {
            let good: i64 = column(&row, "good")?;
            return Ok(if good > 0 { Opened::OriginRefused } else { Opened::TicketRefused });
        };
        let user = UserId::stored(user);
        Ok(Opened::Registered { displaced: Vec::new(), user })
    }

    /// Forgets the oldest connections beyond the most that a user may have. A statement of its own, which sees every
    /// connection that is committed by now, in an order that is the same for all: of many that open at once, the last
    /// to look leaves exactly the newest.
    async fn try_displace(&self, user: &UserId) -> Result<Vec<ConnectionId>, Failure> {
        let displaced: Vec<String> = sqlx::query_scalar(
            "DELETE FROM connections
              WHERE id IN (SELECT id FROM connections WHERE user_id = $1 ORDER BY opened DESC OFFSET $2)
             RETURNING id",
        )
        .bind(user.as_str())
        .bind(i64::try_from(MAX_CONNECTIONS).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
        Ok(displaced.into_iter().map(ConnectionId::new).collect())
    }

    async fn try_forget(&self, connections: &[ConnectionId]) -> Result<(), Failure> {
        let ids: Vec<String> = connections.iter().map(ToString::to_string).collect();
        sqlx::query("DELETE FROM connections WHERE id = ANY ($1)")
            .bind(ids)
            .execute(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        Ok(())
    }

    /// `None` where there may be more to forget.
    async fn try_sweep(&self, at: At) -> Result<Option<Vec<Connection>>, Failure> {
        let found = sqlx::query(
            "WITH clock AS MATERIALIZED (
                 SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
             ), old_tickets AS (
                 DELETE FROM tickets
                  WHERE hash IN (SELECT hash FROM tickets WHERE expires_at <= (SELECT now_ms FROM clock) LIMIT $3)
                 RETURNING 1
             ), old_connections AS (
                 DELETE FROM connections
                  WHERE id IN (SELECT id FROM connections
                               WHERE connected_at <= (SELECT now_ms FROM clock) - $2 LIMIT $3)
                 RETURNING 1
             ), ended AS (
                 SELECT id, user_id, connected_at, token_expires_at FROM connections
                  -- As subqueries: a join would look at all that live, too.
                  WHERE token_expires_at <= (SELECT now_ms FROM clock)
                    AND connected_at > (SELECT now_ms FROM clock) - $2
                  ORDER BY token_expires_at LIMIT $3
             )
             SELECT ended.*,
                    greatest((SELECT count(*) FROM old_tickets), (SELECT count(*) FROM old_connections)) AS forgotten
               FROM (SELECT) AS once LEFT JOIN ended ON true",
        )
        .bind(at_ms(at))
        .bind(MAX_CONNECTION_AGE_MS)
        .bind(i64::try_from(MAX_SWEPT).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
        let forgotten = found.first().map_or(Ok(0), |row| rows::count(row, "forgotten"))?;
        if forgotten >= MAX_SWEPT as u64 {
            return Ok(None);
        }
        let ended: Result<Vec<Option<Connection>>, StoreError> =
            found.iter().map(|row| rows::connection(row, "id")).collect();
        Ok(Some(ended?.into_iter().flatten().collect()))
    }
}
