//! The SQLite file: one writer, a pool of readers, migrations, and a lock on the data folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};

use crate::cursor::Epoch;
use crate::error::StoreError;
use crate::record::sqlite::failure::Failure;
use crate::telemetry::health::{Migrations, Schema};

/// Migrations of a newer release are left alone, so that an older one runs on its file.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("../migrations/sqlite");
    migrations.set_ignore_missing(true);
    migrations
});

/// The record in a SQLite file.
#[derive(Debug)]
pub struct SqliteRecord {
    writer: SqlitePool,
    readers: SqlitePool,
    pub(crate) epoch: Epoch,
    /// The number of the last migration. No other process can migrate while the folder is locked.
    last_migration: i64,
    /// How often a connection was requested.
    accesses: AtomicUsize,
    /// Held for as long as the record is open.
    lock: File,
}

/// Why a record could not be opened. Names the folder or file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be created or written to.
    #[error("the data folder {} is not writable: {reason}", folder.display())]
    NotWritable {
        /// The folder.
        folder: PathBuf,
        /// The error of the system.
        reason: std::io::Error,
    },
    /// Another process has it open.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file is not a database of Carillon, or is damaged.
    #[error("the database {} cannot be opened: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of SQLite.
        reason: String,
    },
}

impl SqliteRecord {
    /// Opens the database file, creates it and its folder if they are missing, and applies missing migrations. Those of
    /// a newer release are left alone.
    pub async fn open(file: &Path) -> Result<Self, OpenError> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let lock = lock(folder)?;
        let unreadable = |reason: sqlx::Error| OpenError::Unreadable { file: file.into(), reason: reason.to_string() };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An accepted send must survive a crash of the machine, not only of the process.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // 64 MiB. With the default of 2 MiB a send to many inboxes reads their pages again and again.
            .pragma("cache_size", "-65536")
            .busy_timeout(Duration::from_secs(5));
        let writer = pool(1).connect_with(options.clone()).await.map_err(unreadable)?;
        MIGRATIONS
            .run(&writer)
            .await
            .map_err(|error| OpenError::Unreadable { file: file.into(), reason: error.to_string() })?;
        let epoch = epoch(&writer).await.map_err(unreadable)?;
        let last = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success");
        let last_migration = last.fetch_one(&writer).await.map_err(unreadable)?;
        let readers = pool(4).connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers, epoch, last_migration, accesses: AtomicUsize::new(0), lock })
    }

    /// How often this record was accessed, as one call of a promise does once. For tests that count what a request
    /// costs.
    pub fn accesses(&self) -> usize {
        self.accesses.load(Ordering::Relaxed)
    }

    /// Closes the file once running calls have ended. The record is useless afterwards, and may be opened again even if
    /// it is still held somewhere.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        if let Err(error) = fs4::FileExt::unlock(&self.lock) {
            tracing::warn!(%error, "the data folder stays locked until this process ends");
        }
    }

    /// Begins to write. No other write runs until this one ends. The present time is to be read afterwards, so that the
    /// one that waited is the later one.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// A connection for a single statement that reads.
    pub(crate) async fn reader(&self) -> Result<PoolConnection<Sqlite>, Failure> {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        Ok(self.readers.acquire().await?)
    }

    /// Begins to read one snapshot of the database with several statements.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        Ok(self.readers.begin().await?)
    }
}

#[async_trait]
impl Migrations for SqliteRecord {
    async fn schema(&self) -> Result<Schema, StoreError> {
        let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        Ok(Schema { needed, found: self.last_migration, missing: None })
    }
}

/// Commits a write. If this fails, it is unknown whether the write was committed.
pub(crate) async fn commit(transaction: Transaction<'_, Sqlite>) -> Result<(), Failure> {
    transaction.commit().await.map_err(|error| StoreError::OutcomeUnknown(error.to_string()).into())
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(5))
        // A file does not disconnect.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let not_writable = |reason| OpenError::NotWritable { folder: folder.into(), reason };
    fs::create_dir_all(folder).map_err(not_writable)?;
    let file =
        File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(not_writable)?;
    match fs4::FileExt::try_lock(&file) {
        Ok(()) => Ok(file),
        Err(fs4::TryLockError::WouldBlock) => Err(OpenError::InUse(folder.into())),
        Err(fs4::TryLockError::Error(reason)) => Err(not_writable(reason)),
    }
}

/// The epoch of the database, chosen at random when it is created.
async fn epoch(writer: &SqlitePool) -> Result<Epoch, sqlx::Error> {
    sqlx::query("INSERT INTO epoch (only_row, epoch) VALUES (1, random()) ON CONFLICT DO NOTHING")
        .execute(writer)
        .await?;
    let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM epoch").fetch_one(writer).await?;
    Ok(Epoch(epoch.cast_unsigned()))
}
