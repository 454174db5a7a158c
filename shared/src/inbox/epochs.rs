//! The promise of the record to begin another epoch.

use async_trait::async_trait;

use crate::cursor::Epoch;
use crate::error::StoreError;

/// Epochs of the record. A database that was restored from a backup gives offsets a second time, so cursors of before must
/// not be taken for its own.
#[async_trait]
pub trait Epochs: Send + Sync {
    /// Begins another epoch, in one act for all inboxes, and returns it. From then on no cursor that was given out before is
    /// part of any inbox's history ([`Position::knows`](crate::inbox::Position::knows)); offsets, what is settled and what
    /// is unread stay.
    ///
    /// Takes as long as rewriting every inbox. Reads go on meanwhile, and what writes to an inbox waits, or is refused as
    /// while the database is unavailable. Doing it twice is harmless: clients fetch everything once more.
    async fn renew_epoch(&self) -> Result<Epoch, StoreError>;
}
