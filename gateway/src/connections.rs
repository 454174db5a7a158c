//! The table of open connections, each with a bounded queue of outgoing messages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A connection without messages is closed after this time, as on AWS.
pub(crate) const MAX_IDLE_MS: i64 = 10 * 60 * 1000;
/// Every connection is closed after this time, as on AWS.
pub(crate) const MAX_AGE_MS: i64 = 2 * 60 * 60 * 1000;

/// The largest message to a client.
pub(crate) const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// How much may be queued for a client that does not read: messages, and their bytes.
const MAX_QUEUED_MESSAGES: usize = 1_000;
const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// Why a connection ends: the code and reason that `$disconnect` receives, and the client too if it is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: Utf8Bytes,
}

impl Closing {
    pub(crate) fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Utf8Bytes::from_static(reason) }
    }

    /// For a connection that was idle or open for too long, and when the gateway stops.
    pub(crate) fn going_away() -> Self {
        Self::new(1001, "Going away")
    }

    /// For `DELETE @connections`.
    pub(crate) fn normal() -> Self {
        Self::new(1000, "Connection Closed Normally")
    }
}

/// One open socket, as seen outside the task that owns it.
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) connected_at_ms: i64,
    pub(crate) source_ip: String,
    pub(crate) user_agent: Option<String>,
    /// The Host header of the handshake.
    pub(crate) host: String,
    last_active_ms: AtomicI64,
    queue: mpsc::Sender<Utf8Bytes>,
    queued_bytes: AtomicUsize,
    close: Mutex<Option<oneshot::Sender<Closing>>>,
}

/// The receiving ends of a connection, for the task that owns its socket.
pub(crate) struct Outbox {
    pub(crate) queue: mpsc::Receiver<Utf8Bytes>,
    pub(crate) closing: oneshot::Receiver<Closing>,
}

/// Whether a message for a client was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueOutcome {
    /// It is sent in order, if the client stays connected.
    Queued,
    /// The client does not read, and its queue is full.
    Full,
    /// The connection has ended.
    Gone,
}

impl Connection {
    /// A connection opened at `now_ms`, and the receiving ends for its task.
    pub(crate) fn new(
        id: String,
        now_ms: i64,
        source_ip: &str,
        user_agent: Option<String>,
        host: &str,
    ) -> (Arc<Self>, Outbox) {
        let (queue, queued) = mpsc::channel(MAX_QUEUED_MESSAGES);
        let (close, closing) = oneshot::channel();
        let connection = Self {
            id,
            connected_at_ms: now_ms,
            source_ip: source_ip.to_owned(),
            user_agent,
            host: host.to_owned(),
            last_active_ms: AtomicI64::new(now_ms),
            queue,
            queued_bytes: AtomicUsize::new(0),
            close: Mutex::new(Some(close)),
        };
        (Arc::new(connection), Outbox { queue: queued, closing })
    }

    /// Queues a text message for the client. If it is queued, that counts as activity.
    pub(crate) fn enqueue(&self, text: Utf8Bytes, now_ms: i64) -> QueueOutcome {
        let length_bytes = text.len();
        let before_bytes = self.queued_bytes.fetch_add(length_bytes, Ordering::Relaxed);
        let outcome = if before_bytes + length_bytes > MAX_QUEUED_BYTES {
            QueueOutcome::Full
        } else {
            match self.queue.try_send(text) {
                Ok(()) => QueueOutcome::Queued,
                Err(mpsc::error::TrySendError::Full(_)) => QueueOutcome::Full,
                Err(mpsc::error::TrySendError::Closed(_)) => QueueOutcome::Gone,
            }
        };
        match outcome {
            QueueOutcome::Queued => self.touch(now_ms),
            QueueOutcome::Full | QueueOutcome::Gone => self.dequeued(length_bytes),
        }
        outcome
    }

    /// Subtracts a message that has left the queue from the queued bytes.
    pub(crate) fn dequeued(&self, length_bytes: usize) {
        self.queued_bytes.fetch_sub(length_bytes, Ordering::Relaxed);
    }

    /// Records that a message was sent or received.
    pub(crate) fn touch(&self, now_ms: i64) {
        self.last_active_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When the last message was sent or received; when the connection was opened if there was none.
    pub(crate) fn last_active_ms(&self) -> i64 {
        self.last_active_ms.load(Ordering::Relaxed)
    }

    /// Asks the socket's task to end the connection. Only the first call has an effect.
    pub(crate) fn close(&self, closing: Closing) {
        let close = lock(&self.close).take();
        if let Some(close) = close {
            // If the receiver is gone, the task is already ending the connection for another reason.
            let _ = close.send(closing);
        }
    }

    /// When the idle or the age limit ends the connection, unless a message is exchanged before.
    fn expires_at_ms(&self) -> i64 {
        (self.last_active_ms() + MAX_IDLE_MS).min(self.connected_at_ms + MAX_AGE_MS)
    }
}

/// All open connections by id.
#[derive(Default)]
pub(crate) struct Connections {
    table: RwLock<HashMap<String, Arc<Connection>>>,
    opened: Notify,
}

impl Connections {
    /// Makes a connection reachable: pushes to its id succeed from here on.
    pub(crate) fn insert(&self, connection: Arc<Connection>) {
        self.write().insert(connection.id.clone(), connection);
        self.opened.notify_one();
    }

    /// Makes a connection unreachable: pushes to its id are answered with 410 from here on.
    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Connection>> {
        self.write().remove(id)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Connection>> {
        self.read().get(id).cloned()
    }

    /// All open connections, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        let mut all: Vec<_> = self.read().values().cloned().collect();
        all.sort_by(|left, right| (left.connected_at_ms, &left.id).cmp(&(right.connected_at_ms, &right.id)));
        all
    }

    pub(crate) fn close_all(&self, closing: &Closing) {
        for connection in self.all() {
            connection.close(closing.clone());
        }
    }

    /// Closes connections that have been idle or open for too long. Returns when the next one expires, in milliseconds
    /// since 1970; `None` if no other connection is open.
    pub(crate) fn close_expired(&self, now_ms: i64) -> Option<i64> {
        let mut next_ms = None;
        for connection in self.read().values() {
            let expires_at_ms = connection.expires_at_ms();
            if expires_at_ms <= now_ms {
                connection.close(Closing::going_away());
            } else {
                next_ms = Some(next_ms.map_or(expires_at_ms, |next: i64| next.min(expires_at_ms)));
            }
        }
        next_ms
    }

    /// Returns when a connection is opened.
    pub(crate) async fn opened(&self) {
        self.opened.notified().await;
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Arc<Connection>>> {
        // A poisoned lock is usable: no change under it can panic halfway through.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Arc<Connection>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> (Arc<Connection>, Outbox) {
        Connection::new("AAAAAAAAAAAAAAA=".into(), 0, "127.0.0.1", None, "localhost")
    }

    #[test]
    fn a_client_that_does_not_read_fills_its_queue() {
        let (connection, mut outbox) = connection();
        let mebibyte = Utf8Bytes::from("x".repeat(1024 * 1024));
        for _ in 0..4 {
            assert_eq!(connection.enqueue(mebibyte.clone(), 1), QueueOutcome::Queued);
        }
        assert_eq!(connection.enqueue("x".into(), 1), QueueOutcome::Full);
        connection.dequeued(outbox.queue.try_recv().unwrap().len());
        assert_eq!(connection.enqueue("x".into(), 1), QueueOutcome::Queued);
    }

    #[test]
    fn many_small_messages_fill_the_queue() {
        let (connection, _outbox) = connection();
        for _ in 0..MAX_QUEUED_MESSAGES {
            assert_eq!(connection.enqueue("x".into(), 1), QueueOutcome::Queued);
        }
        assert_eq!(connection.enqueue("x".into(), 1), QueueOutcome::Full);
    }

    #[test]
    fn a_connection_is_closed_after_being_idle_or_open_for_too_long() {
        let connections = Connections::default();
        let (connection, mut outbox) = connection();
        connections.insert(Arc::clone(&connection));
        assert_eq!(connections.close_expired(0), Some(MAX_IDLE_MS));
        connection.touch(MAX_AGE_MS - 1);
        assert_eq!(connections.close_expired(MAX_IDLE_MS), Some(MAX_AGE_MS));
        assert!(outbox.closing.try_recv().is_err());
        assert_eq!(connections.close_expired(MAX_AGE_MS), None);
        assert_eq!(outbox.closing.try_recv().unwrap(), Closing::going_away());
    }
}
