//! The pool of connections to a Postgres database, and its migrations.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgRow, PgSslMode, Postgres};
use sqlx::{ConnectOptions, Connection, Executor, PgPool, Row};
use tokio::sync::{Mutex, OnceCell};

use super::failure::Failure;
use super::timeout::{GuardedConnection, Mode, with_timeout};
use crate::clock::At;
use crate::config::{Pooler, Secret};
use crate::error::StoreError;
use crate::secrets::Renewal;
use crate::telemetry::health::{Migrations, Schema};
use crate::telemetry::invocation::{act_on, wait_for};
use crate::telemetry::waits::Place;

/// Migrations of a newer release are left alone: the code of two releases runs side by side on its schema.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("../migrations/postgres");
    migrations.set_ignore_missing(true);
    migrations
});

/// The certificate authorities of Amazon RDS and its proxies in all regions, without those that expire within a year
/// (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html).
const RDS_AUTHORITIES: &[u8] = include_bytes!("rds-ca.pem");
/// How long a call waits for a connection before the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the server may take to answer a client that only asks whether it does.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// For how long that answer counts, in milliseconds.
const PROBED_MS: i64 = 1_000;
/// A connection that has been idle for longer is tested before it is used, since the connections of a frozen sandbox
/// may be dead when it thaws. Measured by the wall clock too: the monotonic clock may stop during a freeze.
const UNTESTED_IDLE: Duration = Duration::from_secs(1);
const UNTESTED_IDLE_MS: i64 = 1_000;

/// The record in a Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresRecord {
    pool: PgPool,
    pooler: Pooler,
    /// Reads the password again; `None` if no secret has it.
    renewal: Option<Renewal>,
    /// Set once the database is known to have our migrations; checked with the first call.
    checked: Arc<OnceCell<Mode>>,
    /// When a call that got no connection last asked whether the server answers, in milliseconds since 1970, and whether it
    /// did.
    probed: Arc<Mutex<Option<(i64, bool)>>>,
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
    /// The database lacks a migration that this code needs, by the name of its file.
    #[error("the database at DATABASE_URL lacks migration {0}: run the command `migrate` first")]
    Older(String),
    /// The role of the functions cannot be given to them.
    #[error("the role in FUNCTIONS_DATABASE_URL cannot be made: {0}")]
    Role(String),
    /// A pooler would run the migrations on other connections than the one that holds their lock.
    #[error("migrations go past the pooler: unset DATABASE_POOLER and name the server itself in DATABASE_URL")]
    Pooled,
}

impl PostgresRecord {
    /// The database at a URL, with this many connections at most and nothing in between that must be considered.
    /// Connects with the first call.
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
        Ok(Self { pool, pooler: Pooler::None, renewal: None, checked: Arc::default(), probed: Arc::default() })
    }

    /// The same database behind this pooler, which the URL must name.
    #[must_use]
    pub fn behind(self, pooler: Pooler) -> Self {
        Self { pooler, ..self }
    }

    /// The same database with a password that may be replaced while it is in use.
    #[must_use]
    pub fn renewed_by(self, renewal: Option<Renewal>) -> Self {
        Self { renewal, ..self }
    }

    /// Applies all missing migrations; returns the number of the last one that the database has. Concurrent runs wait
    /// for each other, and there is no timeout, since indexing a large table may take long.
    ///
    /// Gives the role its timeouts, unless it has some or another role may write: that one is the functions', and its
    /// timeouts are the operator's choice (`migrations/roles.sql`).
    pub async fn migrate(&self) -> Result<i64, OpenError> {
        if self.pooler == Pooler::Transaction {
            return Err(OpenError::Pooled);
        }
        self.migrate_without_timeouts().await.map_err(|error| match error {
            MigrateError::Execute(sqlx::Error::PoolTimedOut) => OpenError::Unreachable("no answer in time".into()),
            MigrateError::Execute(sqlx::Error::Database(error)) => OpenError::Unreachable(error.message().to_owned()),
            other => OpenError::Unreachable(other.to_string()),
        })
    }

    /// An error unless the database has all migrations that this code needs.
    pub async fn check(&self) -> Result<(), OpenError> {
        let unreachable = |error: sqlx::Error| match error {
            sqlx::Error::PoolTimedOut => OpenError::Unreachable("no answer in time".into()),
            sqlx::Error::Database(error) => OpenError::Unreachable(error.message().to_owned()),
            other => OpenError::Unreachable(other.to_string()),
        };
        let mut connection = self.acquire().await.map_err(unreachable)?;
        let applied = applied(&mut connection).await.map_err(unreachable)?;
        missing(&applied).map_or(Ok(()), |name| Err(OpenError::Older(name)))
    }

    /// How to connect to the database.
    pub(super) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::clone(&self.pool.connect_options())
    }

    async fn migrate_without_timeouts(&self) -> Result<i64, MigrateError> {
        let mut connection = self.acquire().await?;
        let no_timeouts =
            "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0";
        with_timeout(sqlx::raw_sql(no_timeouts).execute(&mut *connection)).await?;
        // No other call may get a connection without timeouts.
        connection.close_on_drop();
        MIGRATIONS.run(&mut *connection).await?;
        if let Err(error) = with_timeout(sqlx::raw_sql(include_str!("role.sql")).execute(&mut *connection)).await {
            tracing::warn!(%error, "the role could not be given its timeouts: {error}");
        }
        Ok(last(&applied(&mut connection).await?))
    }

    /// Closes the pool once running calls have ended.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection to a database that has our migrations.
    pub(crate) async fn connection(&self) -> Result<GuardedConnection, Failure> {
        let acting = act_on(Place::Record);
        let mut connection = self.pooled().await?;
        let mode = self.checked.get_or_try_init(|| async { self.mode(&mut connection).await }).await;
        let mode = *mode.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(GuardedConnection::new(connection, mode, acting))
    }

    /// A connection to whatever the database has.
    pub(super) async fn pooled(&self) -> Result<PoolConnection<Postgres>, Failure> {
        let _waiting = wait_for(Place::Record);
        match self.acquire().await {
            Ok(connection) => Ok(connection),
            Err(error) => Err(self.without_connection(error).await),
        }
    }

    /// A connection of the pool. If the server refuses the password, it may have been replaced: it is read again, and a further
    /// connection is tried. Connections that are open are not affected by a new password.
    async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let tried = self.pool.connect_options();
        match (self.pool.acquire().await, &self.renewal) {
            (Err(error), Some(renewal)) if is_access_refused(&error) => {
                let config = renewal.after_refusal().await;
                let options = config.database_url.as_ref().and_then(|url| options(url).ok());
                // Another call may have taken up the same one meanwhile.
                match options.filter(|options| options.to_url_lossy() != tried.to_url_lossy()) {
                    Some(options) => self.pool.set_connect_options(options),
                    None => return Err(error),
                }
                self.pool.acquire().await
            }
            (acquired, _) => acquired,
        }
    }

    /// Why a call gets no connection. In time-outs the pool hides whether the others were in use, the server refused a
    /// further one, or nothing answered.
    async fn without_connection(&self, error: sqlx::Error) -> Failure {
        let is_overloaded = match &error {
            sqlx::Error::PoolTimedOut => self.answers().await,
            error => has_too_many_clients(error),
        };
        if is_overloaded { Failure::overloaded(error) } else { Failure::unavailable(error) }
    }

    /// Whether the server answers a client that connects, be it that it has too many. All who ask within [`PROBED_MS`] share
    /// one answer, so that asking adds no load.
    async fn answers(&self) -> bool {
        let mut probed = self.probed.lock().await;
        let now_ms = At::Server.process_ms();
        if let Some((at_ms, answers)) = *probed
            && (at_ms..at_ms + PROBED_MS).contains(&now_ms)
        {
            return answers;
        }
        let options = self.pool.connect_options();
        // A pooler may let a client in although the server is away, so the server is asked something.
        let asking = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            with_timeout(connection.execute("SELECT 1")).await
        };
        let answers = match tokio::time::timeout(PROBE_TIMEOUT, asking).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => has_too_many_clients(&error),
            Err(_) => false,
        };
        *probed = Some((now_ms, answers));
        answers
    }

    /// How statements run on this database, if it has our migrations.
    async fn mode(&self, connection: &mut PgConnection) -> Result<Mode, OpenError> {
        let applied = applied(connection).await.map_err(|error| OpenError::Unreachable(error.to_string()))?;
        if let Some(missing) = missing(&applied) {
            return Err(OpenError::Older(missing));
        }
        let sets_timeouts = !applied.iter().all(|row| row.has_timeouts);
        if sets_timeouts {
            tracing::warn!("the role in DATABASE_URL has no timeouts, so a statement may wait for locks without end");
        }
        Ok(Mode { pooler: self.pooler, sets_timeouts })
    }
}

#[async_trait]
impl Migrations for PostgresRecord {
    async fn schema(&self) -> Result<Schema, StoreError> {
        let mut connection = self.pooled().await?;
        let applied = applied(&mut connection).await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        Ok(Schema { needed, found: last(&applied), missing: missing(&applied) })
    }
}

/// One migration that a database has.
struct Applied {
    version: i64,
    /// Whether the role of this connection has the timeouts that keep a frozen function from holding locks.
    has_timeouts: bool,
}

/// The migrations that a database has. Only reads, since the role of a function may not be allowed more, and by the
/// simple protocol, which every pooler passes on in one piece.
async fn applied(connection: &mut PgConnection) -> Result<Vec<Applied>, sqlx::Error> {
    const UNDEFINED_TABLE: &str = "42P01";
    const APPLIED: &str = "SELECT version, '0' NOT IN (current_setting('statement_timeout'),
                                  current_setting('lock_timeout'),
                                  current_setting('idle_in_transaction_session_timeout')) AS has_timeouts
                             FROM _sqlx_migrations WHERE success";
    match with_timeout(sqlx::raw_sql(APPLIED).fetch_all(connection)).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(rows) => rows
            .iter()
            .map(|row: &PgRow| {
                Ok(Applied { version: row.try_get("version")?, has_timeouts: row.try_get("has_timeouts")? })
            })
            .collect(),
    }
}

/// The file name of the first of our migrations that is not among these. Each is checked, since one may have been
/// skipped when a later one was applied.
fn missing(applied: &[Applied]) -> Option<String> {
    let is_missing = |ours: &&Migration| !applied.iter().any(|row| row.version == ours.version);
    let missing = MIGRATIONS.iter().find(is_missing)?;
    Some(format!("{:04}_{}", missing.version, missing.description.replace(' ', "_")))
}

/// The tables that our migrations create.
pub(super) fn tables() -> Vec<String> {
    let created = |line: &'static str| {
        line.strip_prefix("CREATE TABLE ")?.split(|c: char| !(c == '_' || c.is_alphanumeric())).next()
    };
    let lines = MIGRATIONS.iter().flat_map(|migration| migration.sql.as_str().lines());
    lines.filter_map(created).map(str::to_owned).collect()
}

fn last(applied: &[Applied]) -> i64 {
    applied.iter().map(|row| row.version).max().unwrap_or(0)
}

fn options(url: &Secret) -> Result<PgConnectOptions, OpenError> {
    let mut options: PgConnectOptions =
        // The detailed error might quote the URL.
        url.reveal().parse().map_err(|_| OpenError::Url)?;
    if is_rds(options.get_host()) && matches!(options.get_ssl_mode(), PgSslMode::Prefer) {
        // By default sqlx would fall back to plain text, and the authorities of RDS are in no common list.
        options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(RDS_AUTHORITIES.to_vec());
    }
    // Poolers refuse what they do not know, such as `options`, and sqlx' own `extra_float_digits`.
    Ok(options.application_name("carillon").extra_float_digits(None))
}

/// Whether a server refuses a connection because it has too many.
fn has_too_many_clients(error: &sqlx::Error) -> bool {
    const TOO_MANY_CONNECTIONS: &str = "53300";
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some(TOO_MANY_CONNECTIONS))
}

/// Whether a server does not let a role in, or not with this password.
fn is_access_refused(error: &sqlx::Error) -> bool {
    const INVALID_AUTHORIZATION: &str = "28000";
    const INVALID_PASSWORD: &str = "28P01";
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some(INVALID_AUTHORIZATION | INVALID_PASSWORD))
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
