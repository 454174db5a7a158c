//! Connections and tickets in Postgres.

use async_trait::async_trait;
use sqlx::postgres::PgRow;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{self, at_ms, column, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;
use crate::sockets::connections::{
    Connection, Connections, Extended, MAX_CONNECTION_AGE_MS, MAX_SOCKET_AGE_MS, MAX_SWEPT, Online, Opened, Opening,
    Page, PageEnd, Ticket,
};

/// The most statements of one sweep; the rest waits for the next sweep.
const MAX_SWEEPS: usize = 100;

#[async_trait]
impl Connections for PostgresRecord {
    async fn issue(&self, ticket: &Ticket, _: At) -> Result<bool, StoreError> {
        Ok(self.try_issue(ticket).await?)
    }

    async fn open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, StoreError> {
        match retried!(self.try_open(opening, at))? {
            Opened::Registered { user, .. } => {
                let displaced = retried!(self.try_displace(&user, opening))?;
                Ok(Opened::Registered { user, displaced })
            }
            refused => Ok(refused),
        }
    }

    async fn extend(&self, connection: &ConnectionId, hash: &[u8; 32], at: At) -> Result<Extended, StoreError> {
        Ok(self.try_extend(connection, hash, at).await?)
    }

    async fn find(&self, connection: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        Ok(self.try_find_connection(connection).await?)
    }

    async fn forget(&self, connections: &[ConnectionId]) -> Result<Vec<Connection>, StoreError> {
        if connections.is_empty() {
            return Ok(Vec::new());
        }
        retried!(self.try_forget(connections))
    }

    async fn sweep(&self, at: At) -> Result<Vec<Connection>, StoreError> {
        for _ in 1..MAX_SWEEPS {
            if let Some(expired) = retried!(self.try_sweep(at))? {
                return Ok(expired);
            }
        }
        Ok(retried!(self.try_sweep(at))?.unwrap_or_default())
    }

    async fn of(&self, users: &[UserId], at: At) -> Result<Vec<Connection>, StoreError> {
        Ok(self.try_connections_of(users, at).await?)
    }

    async fn page(&self, after: Option<&PageEnd>, until_ms: i64, limit: usize, at: At) -> Result<Page, StoreError> {
        Ok(self.try_connection_page(after, until_ms, limit, at).await?)
    }

    async fn count(&self, at: At) -> Result<Online, StoreError> {
        Ok(self.try_count(at).await?)
    }
}

impl PostgresRecord {
    async fn try_issue(&self, ticket: &Ticket) -> Result<bool, Failure> {
        let query = sqlx::query(
            "INSERT INTO tickets (hash, user_id, origin, token_expires_at, expires_at, token_issued_at)
             SELECT $1, $2, $3, $4, $5, $6::bigint WHERE NOT EXISTS (
                 SELECT FROM revocations r WHERE r.user_id = $2 AND coalesce($6 <= r.revoked_at / 1000, true))
             RETURNING 1",
        )
        .bind(ticket.hash.as_slice())
        .bind(ticket.user.as_str())
        .bind(ticket.origin.as_deref())
        .bind(ticket.token_expires_at_ms)
        .bind(ticket.expires_at_ms)
        .bind(ticket.token_issued_at_s);
        Ok(query.optional(&mut *self.connection().await?).await?.is_some())
    }

    async fn try_open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, Failure> {
        let query = sqlx::query(sql!("open.sql"))
            .bind(at_ms(at))
            .bind(opening.ticket_hash.as_slice())
            .bind(opening.connection.as_str())
            .bind(opening.origin)
            .bind(opening.connection.is_stream());
        let row = query.one(&mut *self.connection().await?).await?;
        let Some(user) = column::<Option<String>>(&row, "user_id")? else {
            let valid: i64 = column(&row, "valid")?;
            return Ok(if valid > 0 { Opened::OriginRefused } else { Opened::TicketRefused });
        };
        Ok(Opened::Registered { user: UserId::stored(user), displaced: Vec::new() })
    }

    /// Forgets the oldest connections of this kind beyond their number. A separate statement sees every connection that was
    /// committed before, and the order of opening is the same for all: of many connections that open concurrently, the
    /// last one to run this leaves exactly the newest.
    async fn try_displace(&self, user: &UserId, opening: &Opening<'_>) -> Result<Vec<ConnectionId>, Failure> {
        let query = sqlx::query(
            "DELETE FROM connections
              WHERE id IN (
                  SELECT id FROM connections WHERE user_id = $1 AND starts_with(id, 'stream/') = $3
                   ORDER BY opened DESC OFFSET $2)
             RETURNING id",
        );
        let query = query.bind(user.as_str()).bind(limit(opening.most())).bind(opening.connection.is_stream());
        let displaced = query.all(&mut *self.connection().await?).await?;
        displaced.iter().map(|row| Ok(ConnectionId::new(column::<String>(row, "id")?))).collect()
    }

    async fn try_extend(&self, connection: &ConnectionId, hash: &[u8; 32], at: At) -> Result<Extended, Failure> {
        let query = sqlx::query(sql!(
            (", ticket AS (
                 DELETE FROM tickets WHERE hash = $2
                 RETURNING user_id, origin, token_issued_at, token_expires_at, expires_at
             )
             UPDATE connections AS c
                SET token_expires_at = ticket.token_expires_at, token_issued_at = ticket.token_issued_at
               FROM ticket, clock
              WHERE c.id = $3 AND c.user_id = ticket.user_id AND c.origin IS NOT DISTINCT FROM ticket.origin
                AND ticket.expires_at > clock.now_ms AND ticket.token_expires_at > clock.now_ms
                AND NOT EXISTS (
                    SELECT FROM revocations r
                     WHERE r.user_id = ticket.user_id COLLATE \"default\" -- as in open.sql
                       AND coalesce(ticket.token_issued_at <= r.revoked_at / 1000, true))
             RETURNING c.token_expires_at")
        ));
        let query = query.bind(at_ms(at)).bind(hash.as_slice()).bind(connection.as_str());
        match query.optional(&mut *self.connection().await?).await? {
            Some(row) => Ok(Extended::Until(column(&row, "token_expires_at")?)),
            None => Ok(Extended::Refused),
        }
    }

    async fn try_find_connection(&self, connection: &ConnectionId) -> Result<Option<Connection>, Failure> {
        let query = sqlx::query(
            "SELECT c.id, c.user_id, c.connected_at, c.token_expires_at FROM connections c
              WHERE c.id = $1 AND NOT EXISTS (
                  SELECT FROM revocations r
                   WHERE r.user_id = c.user_id COLLATE \"default\" -- as in open.sql
                     AND coalesce(c.token_issued_at <= r.revoked_at / 1000, true))",
        );
        let row = query.bind(connection.as_str()).read_optional(&mut *self.connection().await?).await?;
        row.map_or(Ok(None), |row| Ok(rows::connection(&row, "id")?))
    }

    async fn try_forget(&self, connections: &[ConnectionId]) -> Result<Vec<Connection>, Failure> {
        let ids: Vec<String> = connections.iter().map(ToString::to_string).collect();
        let query = sqlx::query(
            "DELETE FROM connections WHERE id = ANY ($1) RETURNING id, user_id, connected_at, token_expires_at",
        );
        let forgotten = query.bind(ids).all(&mut *self.connection().await?).await?;
        let forgotten: Result<Vec<Option<Connection>>, StoreError> =
            forgotten.iter().map(|row| rows::connection(row, "id")).collect();
        Ok(forgotten?.into_iter().flatten().collect())
    }

    /// Connections whose token has expired; `None` if the statement reached its limit and there may be more to forget
    /// first.
    async fn try_sweep(&self, at: At) -> Result<Option<Vec<Connection>>, Failure> {
        let query = sqlx::query(sql!("sweep.sql")).bind(at_ms(at)).bind(MAX_CONNECTION_AGE_MS).bind(limit(MAX_SWEPT));
        let swept = query.all(&mut *self.connection().await?).await?;
        let forgotten = swept.first().map_or(Ok(0), |row| rows::count(row, "forgotten"))?;
        if forgotten >= MAX_SWEPT as u64 {
            return Ok(None);
        }
        let expired: Result<Vec<Option<Connection>>, StoreError> =
            swept.iter().map(|row| rows::connection(row, "id")).collect();
        Ok(Some(expired?.into_iter().flatten().collect()))
    }

    async fn try_connections_of(&self, users: &[UserId], at: At) -> Result<Vec<Connection>, Failure> {
        let ids: Vec<&str> = users.iter().map(UserId::as_str).collect();
        let query = sqlx::query(sql!(
            (" SELECT c.id, c.user_id, c.connected_at, c.token_expires_at FROM connections c, clock
               WHERE c.user_id = ANY ($2) AND c.token_expires_at > clock.now_ms")
        ));
        let found = query.bind(at_ms(at)).bind(ids).read_all(&mut *self.connection().await?).await?;
        connections(&found)
    }

    async fn try_connection_page(
        &self,
        after: Option<&PageEnd>,
        until_ms: i64,
        page_limit: usize,
        at: At,
    ) -> Result<Page, Failure> {
        let (after_ms, after_id) = after.map_or((i64::MIN, ""), |(ms, id)| (*ms, id.as_str()));
        // The lower bound on the time alone is what the index finds.
        let query = sqlx::query(
            "SELECT id, user_id, connected_at, token_expires_at FROM connections
              WHERE connected_at >= $1 AND (connected_at > $1 OR id COLLATE \"C\" > $2) AND connected_at <= $3
              ORDER BY connected_at, id COLLATE \"C\" LIMIT $4",
        );
        let query = query.bind(after_ms).bind(after_id).bind(until_ms).bind(limit(page_limit));
        let found = query.read_all(&mut *self.connection().await?).await?;
        // An expired token is refused by the clock of this process, which is near enough for what may be lost.
        Ok(Page::new(connections(&found)?, page_limit, at.process_ms()))
    }

    async fn try_count(&self, at: At) -> Result<Online, Failure> {
        let query = sqlx::query(sql!(
            (" SELECT count(*) AS connections, count(DISTINCT user_id) AS users FROM connections, clock
               WHERE token_expires_at > clock.now_ms AND connected_at > clock.now_ms - $2")
        ));
        let query = query.bind(at_ms(at)).bind(MAX_SOCKET_AGE_MS);
        let row = query.read_one(&mut *self.connection().await?).await?;
        Ok(Online { connections: rows::count(&row, "connections")?, users: rows::count(&row, "users")? })
    }
}

fn connections(rows: &[PgRow]) -> Result<Vec<Connection>, Failure> {
    let connections: Result<Vec<Option<Connection>>, StoreError> =
        rows.iter().map(|row| rows::connection(row, "id")).collect();
    Ok(connections?.into_iter().flatten().collect())
}
