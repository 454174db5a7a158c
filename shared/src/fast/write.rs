//! Writing logs to the record: oldest entries first, many in one statement, and each log in its order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::FastRecord;
use super::log::{BusyLog, LogEntry, LogId, Logs, ReadLogs, Share, WRITER_LEASE_MS, WriterId};
use super::logged::{Entry, LoggedMessage, LoggedSend};
use crate::clock::At;
use crate::delivery::dead_letters::{Dead, DeadLetters, Reason};
use crate::error::StoreError;

/// The most entries that are written together, and about how many bytes of them.
const MAX_WRITTEN: usize = 1_000;
const MAX_WRITTEN_BYTES: usize = 2 * 1_024 * 1_024;
/// The most logs that are written together: each costs one script call per read, even an empty one.
const MAX_LOGS: usize = 50;
/// How long to wait for another writer before looking again: twice as long each time, up to the second.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];
/// How long a call waits for other writers before it writes the same: by then every lease has lapsed, unless the clock stands still.
/// Were all to write the same at once, they would stand in each other's way in the database.
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(2 * WRITER_LEASE_MS as u64);

/// Writes logs.
///
/// Any number of writers may work on a log. An entry is removed only after its commit, and storing it twice changes nothing.
#[derive(Clone)]
pub struct LogWriter {
    record: Arc<dyn FastRecord>,
    dead_letters: Arc<dyn DeadLetters>,
    logs: Arc<dyn Logs>,
}

/// How much of a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The entries that it has now: for a call that reads or changes the inbox or chat.
    Present,
    /// All, until it is empty: the next append enqueues it again.
    Everything,
}

/// The result of writing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// How many entries.
    pub entries: usize,
    /// Logs that have more, as far as the moment answers: the time was over, or the record failed.
    pub unfinished: Vec<LogId>,
    /// Why the record failed, if it did.
    pub failure: Option<StoreError>,
    /// Whether a part of the moment gave no answer: it may have more of any of these logs.
    pub is_silent: bool,
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

    /// Writes what these logs have, for so long at most; what another writer has is waited for. What cannot be stored is
    /// dead-lettered, so that the rest does not wait for it.
    pub async fn write(&self, logs: &[LogId], extent: Extent, within: Duration, at: At) -> Written {
        let (mut written, until) = (Written::default(), Instant::now() + within);
        for (n, logs) in logs.chunks(MAX_LOGS).enumerate() {
            if n > 0 && (written.failure.is_some() || Instant::now() >= until) {
                written.unfinished.extend(logs);
            } else {
                self.write_together(logs.to_vec(), extent, until, at, &mut written).await;
            }
        }
        written
    }

    /// Writes one entry that was dead-lettered. False if its id belongs to another request.
    pub async fn write_entry(&self, entry: Entry, at: At) -> Result<bool, StoreError> {
        let others = match entry {
            Entry::Send(send) => self.record.write_sends(&[send], at).await?.len(),
            Entry::Message(message) => self.record.write_messages(&[message], at).await?.len(),
        };
        Ok(others == 0)
    }

    async fn write_together(
        &self,
        mut logs: Vec<LogId>,
        extent: Extent,
        until: Instant,
        at: At,
        written: &mut Written,
    ) {
        let (mut writer, [mut pause, longest]) = (WriterId(random()), LOOK_AGAIN);
        let waits_until = Instant::now() + WAIT_FOR_OTHERS;
        // The logs that others had when they were first looked at.
        let mut awaited: HashMap<LogId, BusyLog> = HashMap::new();
        while !logs.is_empty() {
            // Every log has a share of the batch.
            let share = Share { entries: MAX_WRITTEN / logs.len(), bytes: MAX_WRITTEN_BYTES / logs.len() };
            let ReadLogs { entries, more, grown, busy, is_silent } = self.logs.read(&logs, share, writer, at).await;
            written.is_silent |= is_silent;
            let mut removed = Some(Vec::new());
            if !entries.is_empty() {
                if let Err(error) = self.write_entries(&entries, at).await {
                    tracing::error!(%error, "logs could not be written");
                    written.failure = Some(error);
                    // Others need not wait to find out the same.
                    self.logs.release(&logs, writer).await;
                    break;
                }
                written.entries += entries.len();
                removed = self.logs.remove(&entries, writer).await;
                written.is_silent |= removed.is_none();
            }
            // What answers is written whatever else gives no answer: it was accepted before what comes after this.
            let is_awaited = |busy: &BusyLog| {
                extent == Extent::Everything || !busy.is_past(awaited.entry(busy.log).or_insert(*busy))
            };
            let busy: Vec<LogId> = busy.into_iter().filter(is_awaited).map(|busy| busy.log).collect();
            let is_stuck = !busy.is_empty() && extent == Extent::Present && Instant::now() >= waits_until;
            let is_held_up = entries.is_empty() || removed.is_none();
            let left = removed.unwrap_or_default();
            logs = match extent {
                Extent::Present => [more, busy].concat(),
                Extent::Everything => [more, busy, grown, left].concat(),
            };
            logs.sort_unstable();
            logs.dedup();
            if Instant::now() >= until {
                break;
            }
            if is_stuck {
                writer = WriterId::WITHOUT_LEASE;
            } else if is_held_up && !logs.is_empty() {
                tokio::time::sleep(pause).await;
                pause = longest.min(2 * pause);
            }
        }
        written.unfinished.extend(logs);
    }

    async fn write_entries(&self, entries: &[LogEntry], at: At) -> Result<(), StoreError> {
        let (mut sends, mut messages) = (Vec::new(), Vec::new());
        // Two instances may have the same entry, or, after one was away, two requests with one key.
        let mut seen = HashMap::new();
        for LogEntry { text, .. } in entries {
            let Some(entry) = Entry::parse(text) else {
                self.dead_letter(&String::from_utf8_lossy(text), Reason::Unreadable, at).await?;
                continue;
            };
            match seen.get(&entry.id()) {
                None => seen.insert(entry.id(), entry.request()),
                Some(first) if *first == entry.request() => continue,
                Some(_) => {
                    self.dead_letter(&entry.text(), Reason::Refused, at).await?;
                    continue;
                }
            };
            match entry {
                Entry::Send(send) => sends.push(send),
                Entry::Message(message) => messages.push(message),
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
        self.dead_letters.dead_letter(&Dead::Held { payload }, reason, at).await
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
        for id in writer.record.write_messages(batch, at).await? {
            if let Some(message) = batch.iter().find(|message| message.id == id) {
                writer.dead_letter(&message.text(), Reason::Refused, at).await?;
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.text()
    }
}
