//! The record in one SQLite file: for the local gateway and for tests. WAL, one writer, a pool of readers, and
//! a lock on the data folder, since two processes would not see each other's wakes.

mod delivery;
mod inbox;
mod rows;
mod sockets;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use crate::cursor::Epoch;
use crate::error::StoreError;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite");

/// The record in a SQLite file. Keeps the promises of `inbox`, `deliveries`, `dead_letters`, `history`, `connections` and `retention`.
#[derive(Debug)]
pub struct SqliteRecord {
    writer: SqlitePool,
    readers: SqlitePool,
    epoch: Epoch,
    /// Held for as long as the record is open.
    lock: File,
}

/// Why a record could not be opened. Names the folder or file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or written to.
    #[error("the data folder {} is not writable: {reason}", folder.display())]
    NotWritable {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Another process has it open.
    #[error("the data folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file was written by a newer version of this program.
    #[error("the database {} was made by a newer version (it has migration {version})", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// The migration that this version does not have.
        version: i64,
    },
    /// The file is no database of ours, or is damaged.
    #[error("the database {} cannot be opened: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What SQLite said.
        reason: String,
    },
}

impl SqliteRecord {
    /// Opens the database file, makes it and its folder where they are missing, and brings it up to date.
    pub async fn open(file: &Path) -> Result<Self, OpenError> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let lock = lock(folder)?;
        let unreadable = |reason: sqlx::Error| OpenError::Unreadable { file: file.into(), reason: reason.to_string() };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An accepted send must survive the machine, not only the process.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // 64 MiB: with SQLite's own 2 MiB a send to many inboxes reads their pages again and again.
            .pragma("cache_size", "-65536")
            .busy_timeout(Duration::from_secs(5));
        let writer = pool(1).connect_with(options.clone()).await.map_err(unreadable)?;
        MIGRATIONS.run(&writer).await.map_err(|error| match error {
            MigrateError::VersionMissing(version) => OpenError::Newer { file: file.into(), version },
            other => OpenError::Unreadable { file: file.into(), reason: other.to_string() },
        })?;
        let epoch = epoch(&writer).await.map_err(unreadable)?;
        let readers = pool(4).connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers, epoch, lock })
    }

    /// Closes the file after what is under way. Whoever still holds the record can do nothing with it, and keeps
    /// nobody from opening it anew.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        if let Err(error) = fs4::FileExt::unlock(&self.lock) {
            tracing::warn!(%error, "the data folder stays locked until this process ends");
        }
    }

    /// Begins to write. Nobody else writes until it ends, so that the present time is asked for after this: who waits
    /// is the later.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(rows::failed)
    }

    /// Begins to read one state of the database, whatever is written meanwhile.
    async fn read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.readers.begin().await.map_err(rows::failed)
    }
}

/// Makes a write true. Past this point a failure leaves open whether it is.
async fn commit(transaction: Transaction<'_, Sqlite>) -> Result<(), StoreError> {
    transaction.commit().await.map_err(|error| StoreError::OutcomeUnknown(error.to_string()))
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(5))
        // A file does not go away between two calls.
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

/// The database's epoch, made at random when it is new.
async fn epoch(writer: &SqlitePool) -> Result<Epoch, sqlx::Error> {
    sqlx::query("INSERT INTO epoch (only_row, epoch) VALUES (1, random()) ON CONFLICT DO NOTHING")
        .execute(writer)
        .await?;
    let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM epoch").fetch_one(writer).await?;
    Ok(Epoch(epoch.cast_unsigned()))
}

/// A connection inside a transaction, as the steps of an act share it.
type Connected = SqliteConnection;
