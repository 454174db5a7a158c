//! The SQLite file: one writer, several readers, and a lock on the data folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};

use super::connection::connect;
use super::failure::Failure;
use super::migrate;
use super::readers::Readers;
use super::writer::Writer;
use crate::error::StoreError;
use crate::telemetry::health::{Migrations, Schema};
use crate::telemetry::invocation::{act_on, wait_for};
use crate::telemetry::waits::Place;

/// The record in a SQLite file.
#[derive(Debug)]
pub struct SqliteRecord {
    writer: Writer,
    readers: Readers,
    /// The number of the last migration. No other process can migrate while the folder is locked.
    last_migration: i64,
    /// How often it was accessed.
    accesses: AtomicUsize,
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
        let file = file.to_owned();
        let opened = tokio::task::spawn_blocking({
            let file = file.clone();
            move || Self::open_blocking(&file)
        });
        match opened.await {
            Ok(opened) => opened,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(OpenError::Unreadable { file, reason: error.to_string() }),
            },
        }
    }

    fn open_blocking(file: &Path) -> Result<Self, OpenError> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let lock = lock(folder)?;
        let unreadable = |reason: String| OpenError::Unreadable { file: file.into(), reason };
        let mut writer = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
            .map_err(|error| unreadable(error.to_string()))?;
        let last_migration = migrate::migrate(&mut writer).map_err(|error| unreadable(error.to_string()))?;
        // An epoch at random if the file has none yet.
        let choose = "INSERT INTO epoch (only_row, epoch) VALUES (1, random()) ON CONFLICT DO NOTHING";
        writer.execute(choose, []).map_err(|error| unreadable(error.to_string()))?;
        let writer = Writer::start(writer, lock).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { writer, readers: Readers::new(file), last_migration, accesses: AtomicUsize::new(0) })
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
    }

    /// Runs an act that writes, and commits it; an act that fails changes nothing. No other act writes meanwhile. An act
    /// that needs the present time reads it inside, so that the one that waited is the later one.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        let (_acting, _waiting) = (act_on(Place::Record), wait_for(Place::Record));
        self.writer.run(act).await
    }

    /// Runs an act that reads one snapshot of the database.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        let (_acting, _waiting) = (act_on(Place::Record), wait_for(Place::Record));
        self.readers.run(act).await
    }
}

#[async_trait]
impl Migrations for SqliteRecord {
    async fn schema(&self) -> Result<Schema, StoreError> {
        Ok(Schema { needed: migrate::last_needed(), found: self.last_migration, missing: None })
    }
}

/// The lock on the data folder. No other process uses the file meanwhile.
struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        if let Err(error) = fs4::FileExt::unlock(&self.0) {
            tracing::warn!(%error, "the data folder stays locked until this process ends");
        }
    }
}

fn lock(folder: &Path) -> Result<FolderLock, OpenError> {
    let not_writable = |reason| OpenError::NotWritable { folder: folder.into(), reason };
    fs::create_dir_all(folder).map_err(not_writable)?;
    let file =
        File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(not_writable)?;
    match fs4::FileExt::try_lock(&file) {
        Ok(()) => Ok(FolderLock(file)),
        Err(fs4::TryLockError::WouldBlock) => Err(OpenError::InUse(folder.into())),
        Err(fs4::TryLockError::Error(reason)) => Err(not_writable(reason)),
    }
}
