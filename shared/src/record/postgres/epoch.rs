//! The epoch of a Postgres database.

use std::time::Duration;

use async_trait::async_trait;

use crate::cursor::Epoch;
use crate::error::StoreError;
use crate::inbox::epochs::Epochs;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{self, broken};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::with_long_timeout;

/// How long to wait for the answer: a million inboxes take ten seconds. Less than the function `migrate` may run.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(14 * 60);

#[async_trait]
impl Epochs for PostgresRecord {
    async fn renew_epoch(&self) -> Result<Epoch, StoreError> {
        Ok(self.try_renew_epoch().await?)
    }
}

impl PostgresRecord {
    async fn try_renew_epoch(&self) -> Result<Epoch, Failure> {
        // Refuses a database that lacks a migration.
        drop(self.connection().await?);
        let mut connection = self.pooled().await?;
        // After a timeout the server may still be at it, which no other call should wait for.
        connection.close_on_drop();
        let renew = sqlx::raw_sql(include_str!("renew_epoch.sql"));
        let renewed = with_long_timeout(RENEWAL_TIMEOUT, renew.fetch_all(&mut *connection)).await;
        let renewed = renewed.map_err(Failure::of_write)?;
        Ok(rows::epoch(renewed.last().ok_or_else(|| broken("epoch"))?)?)
    }
}
