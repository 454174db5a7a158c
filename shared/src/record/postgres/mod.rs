//! The record in Postgres. One statement an act wherever what it changes cannot depend on rows that another may just
//! have changed; a pool that fits a function: connected with the first call, one or two connections, nothing that
//! a proxy in transaction mode would have to pin.

mod delivery;
mod inbox;
mod rows;
mod sockets;
mod timeout;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgPool};
use tokio::sync::OnceCell;

use crate::clock::At;
use crate::config::Secret;
use crate::error::StoreError;
use timeout::{Held, InTime};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// The certificate authorities of Amazon RDS and its proxies, all regions, without those that end within a year
/// (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html).
const RDS_AUTHORITIES: &[u8] = include_bytes!("rds-ca.pem");
/// How long a call waits for a connection before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that rested longer is tried before it is used: a frozen sandbox thaws with connections that died
/// meanwhile. Asked of the wall's clock too, since a process' own may stand still in a freeze.
const FRESH: Duration = Duration::from_secs(1);
const FRESH_MS: i64 = 1_000;
/// How often a statement is repeated that lost against another.
const ATTEMPTS: usize = 5;

/// The record in a Postgres database. Keeps the promises of `inbox`, `deliveries`, `dead_letters`, `history`, `connections` and `retention`.
#[derive(Debug, Clone)]
pub struct PostgresRecord {
    pool: PgPool,
    /// Whether the database's migrations were found to be ours; asked with the first call.
    checked: Arc<OnceCell<()>>,
}

/// Why a database cannot be used. Never tells the URL.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL does not parse.
    #[error(
        "DATABASE_URL must read postgres://user:password@host/database, percent-encoded, with parameters that exist"
    )]
    Url,
    /// It cannot be reached, or refuses.
    #[error("DATABASE_URL names a database that cannot be used: {0}")]
    Unreachable(String),
    /// A function needs migrations that the database does not have.
    #[error("the database at DATABASE_URL lacks migration {0}: run the command `migrate` first")]
    Older(i64),
    /// The database was brought up to date by a newer version of this program.
    #[error("the database at DATABASE_URL was made by a newer version (it has migration {0})")]
    Newer(i64),
}

impl PostgresRecord {
    /// The database of that URL; connects with the first call. `connections`: the most at once.
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
                let rested_ms = now_ms - last_use_ms.swap(now_ms, Ordering::Relaxed);
                let is_fresh = held.idle_for < FRESH && (0..FRESH_MS).contains(&rested_ms);
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

    /// Brings the database up to date; returns its last migration. Two that migrate at once wait for each other, and an
    /// index of a large table takes as long as it takes.
    pub async fn migrate(&self) -> Result<i64, OpenError> {
        self.migrate_unhurried().await.map_err(|error| match error {
            MigrateError::VersionMissing(version) => OpenError::Newer(version),
            MigrateError::Execute(sqlx::Error::PoolTimedOut) => OpenError::Unreachable("nobody answers there".into()),
            MigrateError::Execute(sqlx::Error::Database(said)) => OpenError::Unreachable(said.message().to_owned()),
            other => OpenError::Unreachable(other.to_string()),
        })?;
        Ok(last_migration())
    }

    async fn migrate_unhurried(&self) -> Result<(), MigrateError> {
        let mut connection = self.pool.acquire().await?;
        let unhurried = "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0";
        sqlx::raw_sql(unhurried).execute(&mut *connection).in_time().await?;
        // Nobody else is to have its patience.
        connection.close_on_drop();
        MIGRATIONS.run(&mut *connection).await
    }

    /// Closes the pool after what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection to a database that has our migrations.
    async fn connection(&self) -> Result<Held, StoreError> {
        let mut connection = Held::new(self.pool.acquire().await.map_err(rows::unavailable)?);
        self.checked
            .get_or_try_init(|| async { check(&mut connection).await })
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(connection)
    }
}

/// Compares the database's migrations with ours. Only reads: a function's role need not be allowed more.
async fn check(connection: &mut Held) -> Result<(), OpenError> {
    const UNDEFINED_TABLE: &str = "42P01";
    let applied: Result<Vec<i64>, sqlx::Error> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(&mut **connection)
            .in_time()
            .await;
    let applied = match applied {
        Err(sqlx::Error::Database(said)) if said.code().as_deref() == Some(UNDEFINED_TABLE) => Vec::new(),
        other => other.map_err(|error| OpenError::Unreachable(error.to_string()))?,
    };
    let last = last_migration();
    if let Some(version) = applied.iter().max().filter(|version| **version > last) {
        return Err(OpenError::Newer(*version));
    }
    // Each of them: a number may have been left out when a later one was applied.
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
        // What exactly is wrong with it might quote it.
        url.reveal().parse().map_err(|_| OpenError::Url)?;
    if is_rds(options.get_host()) && matches!(options.get_ssl_mode(), PgSslMode::Prefer) {
        // Without a word in the URL sqlx would fall back to plain text, and RDS' authorities are in no common list.
        options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(RDS_AUTHORITIES.to_vec());
    }
    // Far above what any statement here takes; what takes longer waits for somebody who hangs.
    let limits =
        [("statement_timeout", "5000"), ("lock_timeout", "3000"), ("idle_in_transaction_session_timeout", "5000")];
    // To compile a statement takes a hundred times as long as any of ours does.
    Ok(options.application_name("carillon").options(limits).options([("jit", "off")]))
}

fn is_rds(host: &str) -> bool {
    [".rds.amazonaws.com", ".rds.amazonaws.com.cn"].iter().any(|domain| host.ends_with(domain))
}

/// Runs an act again while it loses against others: a deadlock or a serialization failure undid it, or an inbox
/// changed under it.
macro_rules! repeated {
    ($act:expr) => {{
        let mut attempt = 1;
        loop {
            match $act.await {
                Err($crate::record::postgres::rows::Failure::Lost) if attempt < $crate::record::postgres::ATTEMPTS => {
                    attempt += 1
                }
                other => break other.map_err($crate::record::postgres::rows::Failure::into_error),
            }
        }
    }};
}
use repeated;

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(url: &str) -> PgSslMode {
        options(&Secret::new(url)).unwrap().get_ssl_mode()
    }

    #[test]
    fn a_database_at_rds_is_verified_unless_the_url_says_otherwise() {
        assert!(matches!(mode_of("postgres://u@db.abc.eu-west-1.rds.amazonaws.com/x"), PgSslMode::VerifyFull));
        let said = "postgres://u@db.abc.eu-west-1.rds.amazonaws.com/x?sslmode=require";
        assert!(matches!(mode_of(said), PgSslMode::Require));
        assert!(matches!(mode_of("postgres://u@127.0.0.1/x"), PgSslMode::Prefer));
        assert!(matches!(mode_of("postgres://u@db.rds.amazonaws.com.evil.example/x"), PgSslMode::Prefer));
    }

    #[test]
    fn a_url_that_does_not_parse_is_refused_without_being_told() {
        for url in ["postgres://u:hunter2@h:port/x", "postgres://u:hunter2@h/x?sslmode=hunter2", "://hunter2"] {
            let error = options(&Secret::new(url)).unwrap_err().to_string();
            assert!(error.contains("DATABASE_URL") && !error.contains("hunter2"), "{error}");
        }
    }
}
