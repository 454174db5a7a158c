//! The pool of connections to a Postgres database, and its migrations.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgPool};
use tokio::sync::OnceCell;

use super::failure::Failure;
use super::timeout::{GuardedConnection, with_timeout};
use crate::clock::At;
use crate::config::Secret;
use crate::error::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// The certificate authorities of Amazon RDS and its proxies in all regions, without those that expire within a year
/// (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html).
const RDS_AUTHORITIES: &[u8] = include_bytes!("rds-ca.pem");
/// How long a call waits for a connection before the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that has been idle for longer is tested before it is used, since the connections of a frozen sandbox
/// may be dead when it thaws. Measured by the wall clock too: the monotonic clock may stop during a freeze.
const UNTESTED_IDLE: Duration = Duration::from_secs(1);
const UNTESTED_IDLE_MS: i64 = 1_000;

/// The record in a Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresRecord {
    pool: PgPool,
    /// Set once the database is known to have our migrations; checked with the first call.
    checked: Arc<OnceCell<()>>,
}

/// Why a database cannot be used. Never contains the URL.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be parsed.
    #[error(
        "DATABASE_URL must read postgres://user:password@host/database, percent-encoded, with parameters that exist"
    )]
    Url,
    /// The database is unreachable, or refuses access.
    #[error("DATABASE_URL names a database that cannot be used: {0}")]
    Unreachable(String),
    /// The database lacks a migration of this version.
    #[error("the database at DATABASE_URL lacks migration {0}: run the command `migrate` first")]
    Older(i64),
    /// The database was migrated by a newer version.
    #[error("the database at DATABASE_URL was made by a newer version (it has migration {0})")]
    Newer(i64),
}

impl PostgresRecord {
    /// The database at a URL, with this many connections at most. Connects with the first call.
    pub fn new(url: &Secret, connections: u32) -> Result<Self, OpenError> {
        let options = options(url)?;
        let last_use_ms = AtomicI64::new(0);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(0)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(move |connection, held| {
                let now_ms = At::Server.process_ms();
                let unused_ms = now_ms - last_use_ms.swap(now_ms, Ordering::Relaxed);
                let is_fresh = held.idle_for < UNTESTED_IDLE && (0..UNTESTED_IDLE_MS).contains(&unused_ms);
                Box::pin(async move {
                    if !is_fresh {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool, checked: Arc::new(OnceCell::new()) })
    }

    /// Applies all missing migrations; returns the number of the last one. Concurrent runs wait for each other, and
    /// there is no timeout, since indexing a large table may take long.
    pub async fn migrate(&self) -> Result<i64, OpenError> {
        self.migrate_without_timeouts().await.map_err(|error| match error {
            MigrateError::VersionMissing(version) => OpenError::Newer(version),
            MigrateError::Execute(sqlx::Error::PoolTimedOut) => OpenError::Unreachable("no answer in time".into()),
            MigrateError::Execute(sqlx::Error::Database(error)) => OpenError::Unreachable(error.message().to_owned()),
            other => OpenError::Unreachable(other.to_string()),
        })?;
        Ok(last_migration())
    }

    async fn migrate_without_timeouts(&self) -> Result<(), MigrateError> {
        let mut connection = self.pool.acquire().await?;
        let no_timeouts =
            "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0";
        with_timeout(sqlx::raw_sql(no_timeouts).execute(&mut *connection)).await?;
        // No other call may get a connection without timeouts.
        connection.close_on_drop();
        MIGRATIONS.run(&mut *connection).await
    }

    /// Closes the pool once running calls have ended.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection to a database that has our migrations.
    pub(crate) async fn connection(&self) -> Result<GuardedConnection, Failure> {
        let mut connection = GuardedConnection::new(self.pool.acquire().await.map_err(Failure::unavailable)?);
        self.checked
            .get_or_try_init(|| async { check(&mut connection).await })
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(connection)
    }
}

/// Compares the migrations of the database with ours. Only reads, since the role of a function may not be allowed more.
async fn check(connection: &mut GuardedConnection) -> Result<(), OpenError> {
    const UNDEFINED_TABLE: &str = "42P01";
    const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success";
    let applied: Result<Vec<i64>, sqlx::Error> =
        with_timeout(sqlx::query_scalar(APPLIED).fetch_all(&mut **connection)).await;
    let applied = match applied {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => Vec::new(),
        other => other.map_err(|error| OpenError::Unreachable(error.to_string()))?,
    };
    let last = last_migration();
    if let Some(version) = applied.iter().max().filter(|version| **version > last) {
        return Err(OpenError::Newer(*version));
    }
    // Each is checked, since one may have been skipped when a later one was applied.
    match MIGRATIONS.iter().find(|ours| !applied.contains(&ours.version)) {
        Some(missing) => Err(OpenError::Older(missing.version)),
        None => Ok(()),
    }
}

fn last_migration() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn options(url: &Secret) -> Result<PgConnectOptions, OpenError> {
    let mut options: PgConnectOptions =
        // The detailed error might quote the URL.
        url.reveal().parse().map_err(|_| OpenError::Url)?;
    if is_rds(options.get_host()) && matches!(options.get_ssl_mode(), PgSslMode::Prefer) {
        // By default sqlx would fall back to plain text, and the authorities of RDS are in no common list.
        options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(RDS_AUTHORITIES.to_vec());
    }
    // Far above what any statement here takes: a longer one waits for a client that hangs.
    let limits =
        [("statement_timeout", "5000"), ("lock_timeout", "3000"), ("idle_in_transaction_session_timeout", "5000")];
    // Compiling a statement takes a hundred times as long as running any statement here.
    Ok(options.application_name("carillon").options(limits).options([("jit", "off")]))
}

fn is_rds(host: &str) -> bool {
    [".rds.amazonaws.com", ".rds.amazonaws.com.cn"].iter().any(|domain| host.ends_with(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(url: &str) -> PgSslMode {
        options(&Secret::new(url)).unwrap().get_ssl_mode()
    }

    #[test]
    fn the_certificate_of_rds_is_verified_unless_the_url_says_otherwise() {
        assert!(matches!(mode_of("postgres://u@db.abc.eu-west-1.rds.amazonaws.com/x"), PgSslMode::VerifyFull));
        let url = "postgres://u@db.abc.eu-west-1.rds.amazonaws.com/x?sslmode=require";
        assert!(matches!(mode_of(url), PgSslMode::Require));
        assert!(matches!(mode_of("postgres://u@127.0.0.1/x"), PgSslMode::Prefer));
        assert!(matches!(mode_of("postgres://u@db.rds.amazonaws.com.evil.example/x"), PgSslMode::Prefer));
    }

    #[test]
    fn a_url_that_cannot_be_parsed_is_refused_without_being_quoted() {
        for url in ["postgres://u:hunter2@h:port/x", "postgres://u:hunter2@h/x?sslmode=hunter2", "://hunter2"] {
            let error = options(&Secret::new(url)).unwrap_err().to_string();
            assert!(error.contains("DATABASE_URL") && !error.contains("hunter2"), "{error}");
        }
    }
}
