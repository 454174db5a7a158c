//! Fresh stores, each with what must be kept for as long as it is used.

use std::sync::Arc;

use shared::limits::Limits;
use shared::memory::MemoryLimits;
use shared::sqlite::SqliteRecord;
use tempfile::TempDir;

use crate::record::Record;

/// A record in a file of its own.
pub(crate) async fn sqlite() -> (Record, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carillon.db");
    let store = SqliteRecord::open(&file).await.unwrap();
    (Record::new(store), folder)
}

/// Limits in this process.
pub(crate) async fn memory() -> (Arc<dyn Limits>, ()) {
    (Arc::new(MemoryLimits::default()), ())
}
