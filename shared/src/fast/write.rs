//! Writing logs to the record: oldest entries first, many in one statement, and each log in its order.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::FastRecord;
use super::log::{LogEntry, LogId, Logs, ReadLogs, WriterId};
use super::logged::{Entry, LoggedMessage, LoggedSend};
use crate::clock::At;
use crate::delivery::dead_letters::{Dead, DeadLetters, Reason};
use crate::error::StoreError;

/// The most entries that are written together.
pub const MAX_WRITTEN: usize = 1_000;

/// The most logs that are written together: each costs Redis a script, however few entries it has a share for.
const MAX_LOGS: usize = 50;
/// How long to wait for another writer before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long to wait for others in all, so that a log that is never empty holds nobody up: longer than a dead writer has it.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Writes logs.
///
/// Any number may write a log at once. What is in a log is a prefix of what it will have had, since entries are removed only
/// once they are committed, and what is stored changes nothing; so whoever comes late, or a second time, stores nothing
/// anew and nothing out of order.
#[derive(Clone)]
pub struct LogWriter {
    record: Arc<dyn FastRecord>,
    dead_letters: Arc<dyn DeadLetters>,
    logs: Arc<dyn Logs>,
}

impl LogWriter {
    /// A writer of these logs to this record.
    pub fn new(record: Arc<dyn FastRecord>, dead_letters: Arc<dyn DeadLetters>, logs: Arc<dyn Logs>) -> Self {
        Self { record, dead_letters, logs }
    }

    /// The logs that it writes.
    pub(super) fn logs(&self) -> &dyn Logs {
        &*self.logs
    }

    /// The record to which it writes.
    pub(super) fn record(&self) -> &dyn FastRecord {
        &*self.record
    }

    /// Writes what these logs have, until they have nothing more; what another writer has is waited for. What cannot be stored
    /// is dead-lettered, so that the rest does not wait for it. Returns how many entries were written.
    pub async fn write(&self, logs: &[LogId], at: At) -> Result<usize, StoreError> {
        let mut written = 0;
        for logs in logs.chunks(MAX_LOGS) {
            written += self.write_until_empty(logs, at).await?;
        }
        Ok(written)
    }

    async fn write_until_empty(&self, logs: &[LogId], at: At) -> Result<usize, StoreError> {
        let (writer, begun, mut written) = (WriterId(random()), Instant::now(), 0);
        // Every log has a share of the batch.
        let limit = MAX_WRITTEN / logs.len();
        loop {
            let ReadLogs { entries, is_busy } = self.logs.read(logs, limit, writer, at).await;
            if entries.is_empty() {
                if !is_busy || begun.elapsed() > MAX_WAIT {
                    return Ok(written);
                }
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            written += entries.len();
            self.write_entries(&entries, at).await?;
            if !self.logs.remove(&entries, writer).await {
                // Whoever writes the log next removes them.
                return Ok(written);
            }
        }
    }

    async fn write_entries(&self, entries: &[LogEntry], at: At) -> Result<(), StoreError> {
        let (mut sends, mut messages) = (Vec::new(), Vec::new());
        // Two instances may have the same entry.
        let mut seen = HashSet::new();
        for LogEntry { text, .. } in entries {
            match Entry::parse(text) {
                Some(Entry::Send(send)) if seen.insert(send.id.as_uuid()) => sends.push(send),
                Some(Entry::Message(message)) if seen.insert(message.id.as_uuid()) => messages.push(message),
                Some(Entry::Send(_) | Entry::Message(_)) => {}
                None => self.dead_letter(&String::from_utf8_lossy(text), Reason::Unreadable, at).await?,
            }
        }
        self.write_bisecting(&sends, at).await?;
        self.write_bisecting(&messages, at).await
    }

    /// Writes a batch, and if the database refuses it, each half on its own, the first one first.
    async fn write_bisecting<T: Writable>(&self, batch: &[T], at: At) -> Result<(), StoreError> {
        let mut left = vec![batch];
        while let Some(batch) = left.pop().filter(|batch| !batch.is_empty()) {
            match (T::write(self, batch, at).await, batch) {
                (Ok(()), _) => {}
                (Err(StoreError::Refused(_)), [refused]) => {
                    self.dead_letter(&refused.text(), Reason::Refused, at).await?;
                }
                (Err(StoreError::Refused(_)), _) => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    left.extend([second, first]);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    async fn dead_letter(&self, payload: &str, reason: Reason, at: At) -> Result<(), StoreError> {
        tracing::error!("an entry of a log was dead-lettered: {}", reason.text());
        self.dead_letters.dead_letter(&Dead::Unreadable { payload }, reason, at).await
    }
}

/// A number that no other writer has.
fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

/// What is written in batches.
#[async_trait]
trait Writable: Sync + Sized {
    async fn write(writer: &LogWriter, batch: &[Self], at: At) -> Result<(), StoreError>;

    fn text(&self) -> String;
}

#[async_trait]
impl Writable for LoggedSend {
    async fn write(writer: &LogWriter, batch: &[Self], at: At) -> Result<(), StoreError> {
        for id in writer.record.write_sends(batch, at).await? {
            // Claims of keys prevent it, unless Redis lost the claim.
            if let Some(send) = batch.iter().find(|send| send.id == id) {
                writer.dead_letter(&send.text(), Reason::Refused, at).await?;
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.text()
    }
}

#[async_trait]
impl Writable for LoggedMessage {
    async fn write(writer: &LogWriter, batch: &[Self], at: At) -> Result<(), StoreError> {
        writer.record.write_messages(batch, at).await
    }

    fn text(&self) -> String {
        self.text()
    }
}
