//! Asks a server about itself, on connections of its own, and says what it answers or why it does not.

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::store::{PostgresRecord, tables};
use super::timeout::with_timeout;
use crate::clock::Clock;
use crate::doctor::database::{Examined, Front, Unreachable};

const EXAMINE: &str = include_str!("examine.sql");
/// Names no table, so that any role may ask it.
const BACKEND: &str = "SELECT pg_backend_pid()";

impl PostgresRecord {
    /// Asks the server about itself, its database and our role. Changes nothing.
    pub async fn examine(&self, clock: &Clock) -> Result<Examined, Unreachable> {
        let options = self.options();
        let mut connection = connect(&options).await.map_err(unreachable)?;
        let before_ms = clock.now_ms();
        let row = examined(&mut connection).await.map_err(unreachable)?;
        let now_ms = (before_ms + clock.now_ms()) / 2;
        let front = front(&mut connection, &options).await;
        // What it still has open ends with it.
        let _ = with_timeout(connection.close()).await;
        read(&row, now_ms, front).map_err(unreachable)
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    with_timeout(PgConnection::connect_with(options)).await
}

/// In a transaction, since a pooler may have the statement prepared on one connection and executed on another.
async fn examined(connection: &mut PgConnection) -> Result<PgRow, sqlx::Error> {
    let mut transaction = with_timeout(connection.begin()).await?;
    let query = sqlx::query(EXAMINE).bind(tables()).persistent(false);
    let row = with_timeout(query.fetch_one(&mut *transaction)).await?;
    with_timeout(transaction.rollback()).await?;
    Ok(row)
}

fn read(row: &PgRow, now_ms: i64, front: Front) -> Result<Examined, sqlx::Error> {
    Ok(Examined {
        version: row.try_get("version")?,
        version_number: row.try_get("version_number")?,
        is_superuser: row.try_get("is_superuser")?,
        is_owner: row.try_get("is_owner")?,
        is_replica: row.try_get("is_replica")?,
        encoding: row.try_get("encoding")?,
        has_timeouts: row.try_get("has_timeouts")?,
        missing_rights: row.try_get("missing_rights")?,
        connections: row.try_get("connections")?,
        max_connections: row.try_get("max_connections")?,
        ahead_ms: row.try_get::<i64, _>("time_ms")? - now_ms,
        front,
    })
}

/// How often it is looked for a pooler: of the processes that it has, the other connection may be given another one.
const LOOKS: usize = 3;

/// What stands in front of the server.
async fn front(connection: &mut PgConnection, options: &PgConnectOptions) -> Front {
    for _ in 1..LOOKS {
        let front = look_ahead(connection, options).await;
        if front != Front::Session {
            return front;
        }
    }
    look_ahead(connection, options).await
}

/// What seems to stand in front of the server: another connection takes the process that this one had just now, and holds it. A pooler in
/// transaction mode then gives this connection another process, which may not know the statement that was prepared.
async fn look_ahead(connection: &mut PgConnection, options: &PgConnectOptions) -> Front {
    let before = match backend(connection).await {
        Ok(before) => before,
        // The connection has a statement of the same name already, from another client.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P05") => return Front::NotTracking,
        Err(_) => return Front::Unknown,
    };
    let Ok(mut other) = connect(options).await else { return Front::Unknown };
    let Ok(mut held) = with_timeout(other.begin()).await else { return Front::Unknown };
    if with_timeout(sqlx::raw_sql(BACKEND).fetch_all(&mut *held)).await.is_err() {
        return Front::Unknown;
    }
    let after = backend(connection).await;
    let _ = with_timeout(held.rollback()).await;
    match after {
        Ok(after) if after == before => Front::Session,
        Ok(_) => Front::Tracking,
        Err(sqlx::Error::Database(_)) => Front::NotTracking,
        Err(_) => Front::Unknown,
    }
}

/// The process of the server that serves a connection, asked by a statement that stays prepared.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row = with_timeout(sqlx::query(BACKEND).fetch_one(connection)).await?;
    row.try_get(0)
}

fn unreachable(error: sqlx::Error) -> Unreachable {
    let (reason, remedy) = match &error {
        sqlx::Error::Database(refusal) => {
            let remedy = match refusal.code().as_deref() {
                Some("28P01") => "correct user and password in DATABASE_URL, percent-encoded",
                Some("28000") => {
                    "let the server admit this role from here, with sslmode=require if it asks for encryption"
                }
                Some("3D000") => "create the database, or correct its name in DATABASE_URL",
                Some("53300") => "raise max_connections, limit the concurrency of the functions, or use a pooler",
                Some("57P03") => "wait until the server has started",
                _ => "look at the log of the server",
            };
            (refusal.message().to_owned(), remedy)
        }
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => (
            "connection refused".to_owned(),
            "start the server, and see that host and port in DATABASE_URL are its own",
        ),
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => (
            "no answer in time".to_owned(),
            "see that host and port are right, and that security groups and firewalls let this machine in",
        ),
        sqlx::Error::Tls(error) => {
            (error.to_string(), "see that sslmode and sslrootcert in DATABASE_URL fit the server")
        }
        other => (other.to_string(), "see that host and port in DATABASE_URL are right"),
    };
    Unreachable { reason, remedy }
}
