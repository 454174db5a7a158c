//! Logs that behave as those of a Redis in an unlucky moment.

use std::sync::Arc;

use async_trait::async_trait;
use shared::clock::At;
use shared::fast::log::{
    Claimed, KeyClaim, LogEntry, LogId, Logged, Logs, ReadLogs, Share, Unwritten, UnwrittenLogs, WriterId,
};
use shared::ids::{SendId, Uuid};

/// What is strange about logs: whatever an implementation does not say is as in the logs behind it.
#[async_trait]
pub(crate) trait Strange: Send + Sync {
    /// The logs behind it.
    fn logs(&self) -> &Arc<dyn Logs>;

    async fn append(&self, log: LogId, id: Uuid, text: &str, at: At) -> Option<Logged> {
        self.logs().append(log, id, text, at).await
    }

    async fn claim_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<Claimed> {
        self.logs().claim_key(send, claim, at).await
    }

    async fn read(&self, logs: &[LogId], share: Share, writer: WriterId, at: At) -> ReadLogs {
        self.logs().read(logs, share, writer, at).await
    }
}

/// Logs about which something is strange.
pub(crate) struct StrangeLogs<S>(pub(crate) S);

#[async_trait]
impl<S: Strange> Logs for StrangeLogs<S> {
    async fn append(&self, log: LogId, id: Uuid, text: &str, at: At) -> Option<Logged> {
        self.0.append(log, id, text, at).await
    }

    async fn claim_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<Claimed> {
        self.0.claim_key(send, claim, at).await
    }

    async fn take_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<KeyClaim> {
        self.0.logs().take_key(send, claim, at).await
    }

    async fn claimed_key(&self, send: SendId, at: At) -> Option<KeyClaim> {
        self.0.logs().claimed_key(send, at).await
    }

    async fn unwritten(&self, logs: &[LogId]) -> UnwrittenLogs {
        self.0.logs().unwritten(logs).await
    }

    async fn read(&self, logs: &[LogId], share: Share, writer: WriterId, at: At) -> ReadLogs {
        self.0.read(logs, share, writer, at).await
    }

    async fn remove(&self, entries: &[LogEntry], writer: WriterId) -> Option<Vec<LogId>> {
        self.0.logs().remove(entries, writer).await
    }

    async fn release(&self, logs: &[LogId], writer: WriterId) {
        self.0.logs().release(logs, writer).await;
    }

    async fn unwritten_total(&self, at: At) -> Option<Unwritten> {
        self.0.logs().unwritten_total(at).await
    }
}
