//! The epoch of a SQLite file.

use async_trait::async_trait;
use rusqlite::Connection;

use crate::cursor::Epoch;
use crate::error::StoreError;
use crate::inbox::epochs::Epochs;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::execute;
use crate::record::sqlite::store::SqliteRecord;

#[async_trait]
impl Epochs for SqliteRecord {
    async fn renew_epoch(&self) -> Result<Epoch, StoreError> {
        Ok(self.write(renew).await?)
    }
}

fn renew(db: &Connection) -> Result<Epoch, Failure> {
    execute(db, "UPDATE epoch SET epoch = random()", [])?;
    execute(db, "UPDATE inboxes SET epoch = (SELECT epoch FROM epoch)", [])?;
    rows::epoch(db)
}
