//! Connections and tickets in SQLite.

use async_trait::async_trait;
use sqlx::{Row, SqliteConnection};

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows;
use crate::record::sqlite::store::{SqliteRecord, commit};
use crate::sockets::connections::{
    Connection, Connections, Extended, MAX_CONNECTION_AGE_MS, MAX_SOCKET_AGE_MS, MAX_SWEPT, Online, Opened, Opening,
    Page, PageEnd, Ticket,
};

/// Whether the token behind a row of `tickets` or `connections` was revoked.
macro_rules! token_is_revoked {
    ($row:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM revocations r WHERE r.user_id = ",
            $row,
            ".user_id AND coalesce(",
            $row,
            ".token_issued_at <= r.revoked_at / 1000, TRUE))"
        )
    };
}

#[async_trait]
impl Connections for SqliteRecord {
    async fn issue(&self, ticket: &Ticket, _: At) -> Result<bool, StoreError> {
        Ok(self.try_issue(ticket).await?)
    }

    async fn open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, StoreError> {
        Ok(self.try_open(opening, at).await?)
    }

    async fn extend(&self, connection: &ConnectionId, hash: &[u8; 32], at: At) -> Result<Extended, StoreError> {
        Ok(self.try_extend(connection, hash, at).await?)
    }

    async fn find(&self, connection: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        Ok(self.try_find_connection(connection).await?)
    }

    async fn forget(&self, connections: &[ConnectionId]) -> Result<Vec<Connection>, StoreError> {
        Ok(self.try_forget(connections).await?)
    }

    async fn sweep(&self, at: At) -> Result<Vec<Connection>, StoreError> {
        Ok(self.try_sweep(at).await?)
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

impl SqliteRecord {
    async fn try_issue(&self, ticket: &Ticket) -> Result<bool, Failure> {
        let mut db = self.write().await?;
        let issued = sqlx::query(
            "INSERT INTO tickets (hash, user_id, origin, token_expires_at, expires_at, token_issued_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (
                 SELECT 1 FROM revocations r WHERE r.user_id = ?2 AND coalesce(?6 <= r.revoked_at / 1000, TRUE))",
        )
        .bind(ticket.hash.as_slice())
        .bind(ticket.user.as_str())
        .bind(ticket.origin.as_deref())
        .bind(ticket.token_expires_at_ms)
        .bind(ticket.expires_at_ms)
        .bind(ticket.token_issued_at_s)
        .execute(&mut *db)
        .await?;
        commit(db).await?;
        Ok(issued.rows_affected() > 0)
    }

    async fn try_open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, Failure> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let opened = match take(&mut db, &opening.ticket_hash, now_ms).await? {
            None => Opened::TicketRefused,
            Some(ticket) if !fits(&ticket, opening) => Opened::OriginRefused,
            Some(ticket) => {
                register(&mut db, opening, &ticket, now_ms).await?;
                let displaced = displace(&mut db, &ticket.user, opening).await?;
                Opened::Registered { user: ticket.user, displaced }
            }
        };
        // Even if it was refused: the ticket is spent.
        commit(db).await?;
        Ok(opened)
    }

    async fn try_extend(&self, connection: &ConnectionId, hash: &[u8; 32], at: At) -> Result<Extended, Failure> {
        let mut db = self.write().await?;
        let extended = match take(&mut db, hash, at.process_ms()).await? {
            None => Extended::Refused,
            Some(ticket) => {
                let moved = sqlx::query(
                    "UPDATE connections SET token_expires_at = ?2, token_issued_at = ?5
                      WHERE id = ?1 AND user_id = ?3 AND origin IS ?4",
                )
                .bind(connection.as_str())
                .bind(ticket.token_expires_at_ms)
                .bind(ticket.user.as_str())
                .bind(ticket.origin.as_deref())
                .bind(ticket.token_issued_at_s)
                .execute(&mut *db)
                .await?;
                if moved.rows_affected() == 1 { Extended::Until(ticket.token_expires_at_ms) } else { Extended::Refused }
            }
        };
        commit(db).await?;
        Ok(extended)
    }

    async fn try_find_connection(&self, connection: &ConnectionId) -> Result<Option<Connection>, Failure> {
        let row = sqlx::query(concat!(
            "SELECT c.id, c.user_id, c.connected_at, c.token_expires_at FROM connections c
              WHERE c.id = ?1 AND NOT ",
            token_is_revoked!("c")
        ))
        .bind(connection.as_str())
        .fetch_optional(&mut *self.reader().await?)
        .await?;
        row.as_ref().map(rows::connection).transpose()
    }

    async fn try_forget(&self, connections: &[ConnectionId]) -> Result<Vec<Connection>, Failure> {
        let mut db = self.write().await?;
        let forgotten = forget(&mut db, connections).await?;
        commit(db).await?;
        Ok(forgotten)
    }

    async fn try_sweep(&self, at: At) -> Result<Vec<Connection>, Failure> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        sqlx::query("DELETE FROM tickets WHERE expires_at <= ?1").bind(now_ms).execute(&mut *db).await?;
        sqlx::query("DELETE FROM connections WHERE connected_at <= ?1")
            .bind(now_ms - MAX_CONNECTION_AGE_MS)
            .execute(&mut *db)
            .await?;
        // No connection is older than the revocations that are looked at here.
        let expired = sqlx::query(
            "SELECT id, user_id, connected_at, token_expires_at FROM connections WHERE token_expires_at <= ?1
             UNION
             SELECT c.id, c.user_id, c.connected_at, c.token_expires_at
               FROM revocations r JOIN connections c ON c.user_id = r.user_id
              WHERE r.revoked_at >= ?1 - ?3 AND coalesce(c.token_issued_at <= r.revoked_at / 1000, TRUE)
              ORDER BY token_expires_at LIMIT ?2",
        )
        .bind(now_ms)
        .bind(i64::try_from(MAX_SWEPT).unwrap_or(i64::MAX))
        .bind(MAX_CONNECTION_AGE_MS)
        .fetch_all(&mut *db)
        .await?;
        commit(db).await?;
        expired.iter().map(rows::connection).collect()
    }

    async fn try_connections_of(&self, users: &[UserId], at: At) -> Result<Vec<Connection>, Failure> {
        let ids: Vec<&str> = users.iter().map(UserId::as_str).collect();
        let found = sqlx::query(
            "SELECT id, user_id, connected_at, token_expires_at FROM connections
              WHERE user_id IN (SELECT value FROM json_each(?1)) AND token_expires_at > ?2",
        );
        let found =
            found.bind(rows::json_list(&ids)).bind(at.process_ms()).fetch_all(&mut *self.reader().await?).await?;
        found.iter().map(rows::connection).collect()
    }

    async fn try_connection_page(
        &self,
        after: Option<&PageEnd>,
        until_ms: i64,
        limit: usize,
        at: At,
    ) -> Result<Page, Failure> {
        let (after_ms, after_id) = after.map_or((i64::MIN, ""), |(ms, id)| (*ms, id.as_str()));
        let found = sqlx::query(
            "SELECT id, user_id, connected_at, token_expires_at FROM connections
              WHERE (connected_at, id) > (?1, ?2) AND connected_at <= ?3
              ORDER BY connected_at, id LIMIT ?4",
        );
        let found = found.bind(after_ms).bind(after_id).bind(until_ms).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let found = found.fetch_all(&mut *self.reader().await?).await?;
        let found: Vec<Connection> = found.iter().map(rows::connection).collect::<Result<_, _>>()?;
        Ok(Page::new(found, limit, at.process_ms()))
    }

    async fn try_count(&self, at: At) -> Result<Online, Failure> {
        let row = sqlx::query(
            "SELECT count(*) AS connections, count(DISTINCT user_id) AS users FROM connections
              WHERE token_expires_at > ?1 AND connected_at > ?1 - ?2",
        )
        .bind(at.process_ms())
        .bind(MAX_SOCKET_AGE_MS)
        .fetch_one(&mut *self.reader().await?)
        .await?;
        Ok(Online { connections: rows::count(&row, "connections")?, users: rows::count(&row, "users")? })
    }
}

/// A ticket that was taken in time.
struct ValidTicket {
    user: UserId,
    origin: Option<String>,
    token_issued_at_s: Option<i64>,
    token_expires_at_ms: i64,
}

fn fits(ticket: &ValidTicket, opening: &Opening<'_>) -> bool {
    ticket.origin.as_deref() == opening.origin || (opening.connection.is_stream() && opening.origin.is_none())
}

/// Deletes a ticket, so that it is spent. `None` if it is unknown or has expired, or its token has or was revoked.
async fn take(db: &mut SqliteConnection, hash: &[u8; 32], now_ms: i64) -> Result<Option<ValidTicket>, Failure> {
    let row = sqlx::query(concat!(
        "DELETE FROM tickets WHERE hash = ?1
         RETURNING user_id, origin, token_issued_at, token_expires_at, expires_at, ",
        token_is_revoked!("tickets"),
        " AS is_revoked"
    ))
    .bind(hash.as_slice())
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let is_revoked: bool = row.try_get("is_revoked")?;
    let expires_at_ms: i64 = row.try_get("expires_at")?;
    let ticket = ValidTicket {
        user: UserId::stored(row.try_get("user_id")?),
        origin: row.try_get("origin")?,
        token_issued_at_s: row.try_get("token_issued_at")?,
        token_expires_at_ms: row.try_get("token_expires_at")?,
    };
    Ok((!is_revoked && expires_at_ms > now_ms && ticket.token_expires_at_ms > now_ms).then_some(ticket))
}

async fn register(
    db: &mut SqliteConnection,
    opening: &Opening<'_>,
    ticket: &ValidTicket,
    now_ms: i64,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO connections (id, user_id, origin, connected_at, token_expires_at, token_issued_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(opening.connection.as_str())
    .bind(ticket.user.as_str())
    .bind(ticket.origin.as_deref())
    .bind(now_ms)
    .bind(ticket.token_expires_at_ms)
    .bind(ticket.token_issued_at_s)
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets the oldest connections of this kind beyond their number, but never the newest, even if the clock went back.
async fn displace(
    db: &mut SqliteConnection,
    user: &UserId,
    opening: &Opening<'_>,
) -> Result<Vec<ConnectionId>, Failure> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM connections WHERE user_id = ?1 AND (id GLOB 'stream/*') = ?4
          ORDER BY id = ?3 DESC, connected_at DESC, id LIMIT -1 OFFSET ?2",
    )
    .bind(user.as_str())
    .bind(i64::try_from(opening.most()).unwrap_or(i64::MAX))
    .bind(opening.connection.as_str())
    .bind(opening.connection.is_stream())
    .fetch_all(&mut *db)
    .await?;
    let displaced: Vec<ConnectionId> = ids.into_iter().map(ConnectionId::new).collect();
    forget(db, &displaced).await?;
    Ok(displaced)
}

async fn forget(db: &mut SqliteConnection, connections: &[ConnectionId]) -> Result<Vec<Connection>, Failure> {
    if connections.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = connections.iter().map(ConnectionId::as_str).collect();
    let forgotten = sqlx::query(
        "DELETE FROM connections WHERE id IN (SELECT value FROM json_each(?1))
         RETURNING id, user_id, connected_at, token_expires_at",
    );
    let forgotten = forgotten.bind(rows::json_list(&ids)).fetch_all(db).await?;
    forgotten.iter().map(rows::connection).collect()
}
