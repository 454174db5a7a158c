//! Connections and tickets in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection as Db, params};

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::{all, execute, first, one, value};
use crate::record::sqlite::store::SqliteRecord;
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
        let sql = "INSERT INTO tickets (hash, user_id, origin, token_expires_at, expires_at, token_issued_at)
                   SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (
                       SELECT 1 FROM revocations r WHERE r.user_id = ?2 AND coalesce(?6 <= r.revoked_at / 1000, TRUE))";
        let ticket = ticket.clone();
        self.write(move |db| {
            let params = params![
                ticket.hash.as_slice(),
                ticket.user.as_str(),
                ticket.origin,
                ticket.token_expires_at_ms,
                ticket.expires_at_ms,
                ticket.token_issued_at_s,
            ];
            Ok(execute(db, sql, params)? > 0)
        })
        .await
    }

    async fn try_open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, Failure> {
        let ticket_hash = opening.ticket_hash;
        let (connection, origin) = (opening.connection.clone(), opening.origin.map(str::to_owned));
        self.write(move |db| {
            let opening = Opening { connection: &connection, ticket_hash, origin: origin.as_deref() };
            let now_ms = at.process_ms();
            // A refusal is committed too: the ticket is spent.
            Ok(match take(db, &ticket_hash, now_ms)? {
                None => Opened::TicketRefused,
                Some(ticket) if !fits(&ticket, &opening) => Opened::OriginRefused,
                Some(ticket) => {
                    register(db, &opening, &ticket, now_ms)?;
                    let displaced = displace(db, &ticket.user, &opening)?;
                    Opened::Registered { user: ticket.user, displaced }
                }
            })
        })
        .await
    }

    async fn try_extend(&self, connection: &ConnectionId, hash: &[u8; 32], at: At) -> Result<Extended, Failure> {
        let sql = "UPDATE connections SET token_expires_at = ?2, token_issued_at = ?5
                    WHERE id = ?1 AND user_id = ?3 AND origin IS ?4";
        let (connection, hash) = (connection.clone(), *hash);
        self.write(move |db| {
            let Some(ticket) = take(db, &hash, at.process_ms())? else { return Ok(Extended::Refused) };
            let until_ms = ticket.token_expires_at_ms;
            let params =
                params![connection.as_str(), until_ms, ticket.user.as_str(), ticket.origin, ticket.token_issued_at_s];
            let moved = execute(db, sql, params)?;
            Ok(if moved == 1 { Extended::Until(until_ms) } else { Extended::Refused })
        })
        .await
    }

    async fn try_find_connection(&self, connection: &ConnectionId) -> Result<Option<Connection>, Failure> {
        let sql = concat!(
            "SELECT c.id, c.user_id, c.connected_at, c.token_expires_at FROM connections c
              WHERE c.id = ?1 AND NOT ",
            token_is_revoked!("c")
        );
        let connection = connection.clone();
        self.read(move |db| first(db, sql, params![connection.as_str()], rows::connection)).await
    }

    async fn try_forget(&self, connections: &[ConnectionId]) -> Result<Vec<Connection>, Failure> {
        let connections = connections.to_vec();
        self.write(move |db| forget(db, &connections)).await
    }

    async fn try_sweep(&self, at: At) -> Result<Vec<Connection>, Failure> {
        // No connection is older than the revocations that are looked at here.
        let expired = "SELECT id, user_id, connected_at, token_expires_at FROM connections WHERE token_expires_at <= ?1
                       UNION
                       SELECT c.id, c.user_id, c.connected_at, c.token_expires_at
                         FROM revocations r JOIN connections c ON c.user_id = r.user_id
                        WHERE r.revoked_at >= ?1 - ?3 AND coalesce(c.token_issued_at <= r.revoked_at / 1000, TRUE)
                        ORDER BY token_expires_at LIMIT ?2";
        let swept = self.write(move |db| {
            let now_ms = at.process_ms();
            execute(db, "DELETE FROM tickets WHERE expires_at <= ?1", params![now_ms])?;
            let too_old_ms = now_ms - MAX_CONNECTION_AGE_MS;
            execute(db, "DELETE FROM connections WHERE connected_at <= ?1", params![too_old_ms])?;
            let params = params![now_ms, rows::limit(MAX_SWEPT), MAX_CONNECTION_AGE_MS];
            // A row that cannot be read does not undo what was deleted.
            all(db, expired, params, |row| Ok(rows::connection(row)))
        });
        swept.await?.into_iter().collect()
    }

    async fn try_connections_of(&self, users: &[UserId], at: At) -> Result<Vec<Connection>, Failure> {
        let sql = "SELECT id, user_id, connected_at, token_expires_at FROM connections
                    WHERE user_id IN (SELECT value FROM json_each(?1)) AND token_expires_at > ?2";
        let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
        let users = rows::json_list(&users);
        self.read(move |db| all(db, sql, params![users, at.process_ms()], rows::connection)).await
    }

    async fn try_connection_page(
        &self,
        after: Option<&PageEnd>,
        until_ms: i64,
        limit: usize,
        at: At,
    ) -> Result<Page, Failure> {
        let sql = "SELECT id, user_id, connected_at, token_expires_at FROM connections
                    WHERE (connected_at, id) > (?1, ?2) AND connected_at <= ?3
                    ORDER BY connected_at, id LIMIT ?4";
        let (after_ms, after_id) = after.map_or((i64::MIN, String::new()), |(ms, id)| (*ms, id.as_str().to_owned()));
        let found = self.read(move |db| {
            let params = params![after_ms, after_id, until_ms, rows::limit(limit)];
            all(db, sql, params, rows::connection)
        });
        Ok(Page::new(found.await?, limit, at.process_ms()))
    }

    async fn try_count(&self, at: At) -> Result<Online, Failure> {
        let sql = "SELECT count(*) AS connections, count(DISTINCT user_id) AS users FROM connections
                    WHERE token_expires_at > ?1 AND connected_at > ?1 - ?2";
        self.read(move |db| {
            one(db, sql, params![at.process_ms(), MAX_SOCKET_AGE_MS], |row| {
                Ok(Online { connections: rows::count(row, "connections")?, users: rows::count(row, "users")? })
            })
        })
        .await
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
fn take(db: &Db, hash: &[u8; 32], now_ms: i64) -> Result<Option<ValidTicket>, Failure> {
    let sql = concat!(
        "DELETE FROM tickets WHERE hash = ?1
         RETURNING user_id, origin, token_issued_at, token_expires_at, expires_at, ",
        token_is_revoked!("tickets"),
        " AS is_revoked"
    );
    let taken = first(db, sql, params![hash.as_slice()], |row| {
        let is_revoked: bool = row.get("is_revoked")?;
        let expires_at_ms: i64 = row.get("expires_at")?;
        let ticket = ValidTicket {
            user: UserId::stored(row.get("user_id")?),
            origin: row.get("origin")?,
            token_issued_at_s: row.get("token_issued_at")?,
            token_expires_at_ms: row.get("token_expires_at")?,
        };
        Ok((!is_revoked && expires_at_ms > now_ms && ticket.token_expires_at_ms > now_ms).then_some(ticket))
    });
    Ok(taken?.flatten())
}

fn register(db: &Db, opening: &Opening<'_>, ticket: &ValidTicket, now_ms: i64) -> Result<(), Failure> {
    let sql = "INSERT INTO connections (id, user_id, origin, connected_at, token_expires_at, token_issued_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let params = params![
        opening.connection.as_str(),
        ticket.user.as_str(),
        ticket.origin,
        now_ms,
        ticket.token_expires_at_ms,
        ticket.token_issued_at_s,
    ];
    execute(db, sql, params)?;
    Ok(())
}

/// Forgets the oldest connections of this kind beyond their number, but never the newest, even if the clock went back.
fn displace(db: &Db, user: &UserId, opening: &Opening<'_>) -> Result<Vec<ConnectionId>, Failure> {
    let sql = "SELECT id FROM connections WHERE user_id = ?1 AND (id GLOB 'stream/*') = ?4
                ORDER BY id = ?3 DESC, connected_at DESC, id LIMIT -1 OFFSET ?2";
    let opened = opening.connection;
    let params = params![user.as_str(), rows::limit(opening.most()), opened.as_str(), opened.is_stream()];
    let displaced: Vec<ConnectionId> =
        all(db, sql, params, value::<String>)?.into_iter().map(ConnectionId::new).collect();
    forget(db, &displaced)?;
    Ok(displaced)
}

fn forget(db: &Db, connections: &[ConnectionId]) -> Result<Vec<Connection>, Failure> {
    if connections.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "DELETE FROM connections WHERE id IN (SELECT value FROM json_each(?1))
               RETURNING id, user_id, connected_at, token_expires_at";
    let ids: Vec<&str> = connections.iter().map(ConnectionId::as_str).collect();
    all(db, sql, params![rows::json_list(&ids)], rows::connection)
}
