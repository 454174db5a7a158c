//! The table of open connections, each with what is on its way to its socket.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::outgoing::{Closing, Outgoing, QueueOutcome};

/// A connection without messages is closed after this time, as on AWS.
pub(crate) const MAX_IDLE_MS: i64 = 10 * 60 * 1000;
/// Every connection is closed after this time, as on AWS.
pub(crate) const MAX_AGE_MS: i64 = 2 * 60 * 60 * 1000;

/// The largest message to a client.
pub(crate) const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// One open socket, as seen outside the task that owns it.
pub(crate) struct Connection {
    /// Shared with the table.
    pub(crate) id: Arc<str>,
    pub(crate) connected_at_ms: i64,
    pub(crate) source_ip: IpAddr,
    pub(crate) user_agent: Option<String>,
    /// The Host header of the handshake, from [`Connections::shared_host`].
    pub(crate) host: Arc<str>,
    last_active_ms: AtomicI64,
    outgoing: Outgoing,
}

/// The receiving end of a connection, for the task that owns its socket. When it is dropped, the connection has ended.
pub(crate) struct Outbox(Arc<Connection>);

impl Deref for Outbox {
    type Target = Outgoing;

    fn deref(&self) -> &Outgoing {
        &self.0.outgoing
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.end();
    }
}

impl Connection {
    /// A connection opened at `now_ms`, and the receiving end for its task.
    pub(crate) fn new(
        id: Arc<str>,
        now_ms: i64,
        source_ip: IpAddr,
        user_agent: Option<String>,
        host: Arc<str>,
    ) -> (Arc<Self>, Outbox) {
        let connection = Arc::new(Self {
            id,
            connected_at_ms: now_ms,
            source_ip,
            user_agent,
            host,
            last_active_ms: AtomicI64::new(now_ms),
            outgoing: Outgoing::default(),
        });
        (Arc::clone(&connection), Outbox(connection))
    }

    /// Queues a text message for the client. If it is queued, that counts as activity.
    pub(crate) fn enqueue(&self, text: Utf8Bytes, now_ms: i64) -> QueueOutcome {
        let outcome = self.outgoing.enqueue(text);
        if outcome == QueueOutcome::Queued {
            self.touch(now_ms);
        }
        outcome
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
        self.outgoing.close(closing);
    }

    /// When the idle or the age limit ends the connection, unless a message is exchanged before.
    fn expires_at_ms(&self) -> i64 {
        (self.last_active_ms() + MAX_IDLE_MS).min(self.connected_at_ms + MAX_AGE_MS)
    }
}

/// All open connections by id.
#[derive(Default)]
pub(crate) struct Connections {
    table: RwLock<HashMap<Arc<str>, Arc<Connection>>>,
    last_host: Mutex<Arc<str>>,
    opened: Notify,
}

impl Connections {
    /// Makes a connection reachable: pushes to its id succeed from here on.
    pub(crate) fn insert(&self, connection: Arc<Connection>) {
        self.write().insert(Arc::clone(&connection.id), connection);
        self.opened.notify_one();
    }

    /// Makes a connection unreachable: pushes to its id are answered with 410 from here on.
    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Connection>> {
        self.write().remove(id)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Connection>> {
        self.read().get(id).cloned()
    }

    /// A Host header. It is shared with the connection before if that had the same, as nearly all have.
    pub(crate) fn shared_host(&self, host: &str) -> Arc<str> {
        // A poisoned lock is usable: no change under it can panic halfway through.
        let mut last = self.last_host.lock().unwrap_or_else(PoisonError::into_inner);
        if **last != *host {
            *last = host.into();
        }
        Arc::clone(&last)
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

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Arc<str>, Arc<Connection>>> {
        // A poisoned lock is usable: no change under it can panic halfway through.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Arc<str>, Arc<Connection>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn connection() -> (Arc<Connection>, Outbox) {
        Connection::new("AAAAAAAAAAAAAAA=".into(), 0, Ipv4Addr::LOCALHOST.into(), None, "localhost".into())
    }

    #[test]
    fn a_connection_without_a_task_is_gone_and_a_refused_message_is_no_activity() {
        let (connection, outbox) = connection();
        assert_eq!(connection.enqueue("x".into(), 1), QueueOutcome::Queued);
        drop(outbox);
        assert_eq!(connection.enqueue("x".into(), 2), QueueOutcome::Gone);
        assert_eq!(connection.last_active_ms(), 1);
    }

    #[test]
    fn a_connection_is_found_by_its_id_until_it_is_removed() {
        let connections = Connections::default();
        let (connection, _outbox) = connection();
        connections.insert(connection);
        let id = "AAAAAAAAAAAAAAA=";
        assert_eq!(connections.get(id).map(|found| found.id.to_string()).as_deref(), Some(id));
        assert!(connections.remove(id).is_some());
        assert!(connections.get(id).is_none() && connections.remove(id).is_none());
    }

    #[test]
    fn connections_to_the_same_host_share_it() {
        let connections = Connections::default();
        let hosts = ["a:1", "a:1", "b:1"].map(|host| connections.shared_host(host));
        assert_eq!(hosts.each_ref().map(|host| &**host), ["a:1", "a:1", "b:1"]);
        assert!(Arc::ptr_eq(&hosts[0], &hosts[1]));
    }

    #[test]
    fn a_connection_is_closed_after_being_idle_or_open_for_too_long() {
        let connections = Connections::default();
        let (connection, outbox) = connection();
        let context = Context::from_waker(Waker::noop());
        connections.insert(Arc::clone(&connection));
        assert_eq!(connections.close_expired(0), Some(MAX_IDLE_MS));
        connection.touch(MAX_AGE_MS - 1);
        assert_eq!(connections.close_expired(MAX_IDLE_MS), Some(MAX_AGE_MS));
        assert!(outbox.poll_closing(&context).is_pending());
        assert_eq!(connections.close_expired(MAX_AGE_MS), None);
        assert_eq!(outbox.poll_closing(&context), Poll::Ready(Closing::going_away()));
    }
}
