//! The promise of the record to register connections, which are open sockets and event streams: a ticket opens one, and no
//! user keeps more than [`MAX_CONNECTIONS`] sockets and [`MAX_STREAMS`] streams.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};

/// The most sockets of one user. One more closes the oldest.
pub const MAX_CONNECTIONS: usize = 20;
/// The most event streams of one user. One more closes the oldest.
pub const MAX_STREAMS: usize = 2;
/// The age at which API Gateway ends a connection, in milliseconds.
pub const MAX_SOCKET_AGE_MS: i64 = 2 * 60 * 60 * 1_000;
/// The age beyond which a registered connection no longer exists, in milliseconds, since API Gateway ends it after 2 h.
/// Its `$disconnect` was lost.
pub const MAX_CONNECTION_AGE_MS: i64 = 130 * 60 * 1_000;

/// The most tickets, old connections, and connections with an expired token that one statement of a sweep takes, of
/// each.
pub const MAX_SWEPT: usize = 1_000;

/// The open sockets, and the tickets that open them.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Stores a ticket until it is taken or expires. False, and no effect, if its token was revoked.
    async fn issue(&self, ticket: &Ticket, at: At) -> Result<bool, StoreError>;

    /// Takes a ticket and registers the connection for its user, in one transaction. However many concurrent calls use
    /// a ticket, it opens one connection. A ticket that is refused because of its origin is taken too.
    ///
    /// A stream that names no origin fits every ticket: browsers send none to their own origin.
    ///
    /// Afterwards the oldest connections of the user, of its kind and beyond their number, are unregistered.
    async fn open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, StoreError>;

    /// Takes a ticket and moves the expiry of a connection to that of the ticket's token, atomically. Refused if the
    /// ticket belongs to another user or another origin; the ticket is taken even then.
    async fn extend(&self, connection: &ConnectionId, ticket_hash: &[u8; 32], at: At) -> Result<Extended, StoreError>;

    /// A registered connection; `None` if the id is not registered or its token was revoked.
    async fn find(&self, connection: &ConnectionId) -> Result<Option<Connection>, StoreError>;

    /// Unregisters connections. Unknown ids are skipped, so repeating it is harmless. Returns those that this call
    /// unregistered.
    async fn forget(&self, connections: &[ConnectionId]) -> Result<Vec<Connection>, StoreError>;

    /// Deletes expired tickets and connections older than [`MAX_CONNECTION_AGE_MS`]. Returns up to [`MAX_SWEPT`]
    /// connections whose token has expired or was revoked, so that the caller can notify and close them. They stay registered until
    /// [`forget`](Self::forget): if the caller dies, the next sweep returns them again.
    async fn sweep(&self, at: At) -> Result<Vec<Connection>, StoreError>;

    /// The connections of these users, without those whose token has expired.
    async fn of(&self, users: &[UserId], at: At) -> Result<Vec<Connection>, StoreError>;

    /// A page of the connections of all users in the order in which they were registered, from the first or from the one after
    /// `after`, up to those registered at `until_ms`. At most `limit` are looked at; those whose token has expired are left
    /// out. Costs the same for every page, however many connections there are.
    async fn page(&self, after: Option<&PageEnd>, until_ms: i64, limit: usize, at: At) -> Result<Page, StoreError>;

    /// How many sockets are open: connections younger than [`MAX_SOCKET_AGE_MS`] whose token has not expired.
    async fn count(&self, at: At) -> Result<Online, StoreError>;
}

/// Where a page of connections ends: when its last one was registered, in milliseconds since 1970, and its id.
pub type PageEnd = (i64, ConnectionId);

/// A page of connections.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The connections.
    pub connections: Vec<Connection>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<PageEnd>,
}

impl Page {
    /// A page of what was looked at, which is the last unless it is full.
    pub(crate) fn new(looked_at: Vec<Connection>, limit: usize, now_ms: i64) -> Self {
        let is_full = looked_at.len() >= limit;
        let next = looked_at.last().filter(|_| is_full).map(|last| (last.connected_at_ms, last.id.clone()));
        let connections = looked_at.into_iter().filter(|connection| connection.token_expires_at_ms > now_ms).collect();
        Self { connections, next }
    }
}

/// How many sockets are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Online {
    /// Open sockets.
    pub connections: u64,
    /// Users with at least one open socket.
    pub users: u64,
}

/// A one-time ticket, as it is stored.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// SHA-256 of the ticket; the ticket itself is stored nowhere.
    pub hash: [u8; 32],
    /// The user whose socket it opens.
    pub user: UserId,
    /// The origin that may use it; with `None`, only a client that sends no origin.
    pub origin: Option<String>,
    /// When the token was issued that it was issued for, in seconds since 1970, if that is known.
    pub token_issued_at_s: Option<i64>,
    /// When that token expires, in milliseconds since 1970. The socket ends then too.
    pub token_expires_at_ms: i64,
    /// When the ticket itself expires, in milliseconds since 1970.
    pub expires_at_ms: i64,
}

/// A request to open a socket.
#[derive(Debug)]
pub struct Opening<'a> {
    /// API Gateway's id of it.
    pub connection: &'a ConnectionId,
    /// SHA-256 of its ticket.
    pub ticket_hash: [u8; 32],
    /// The `Origin` header, in lower case; `None` if there is none.
    pub origin: Option<&'a str>,
}

impl Opening<'_> {
    /// How many connections of its kind a user keeps.
    pub(crate) fn most(&self) -> usize {
        if self.connection.is_stream() { MAX_STREAMS } else { MAX_CONNECTIONS }
    }
}

/// The result of opening a socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// The connection is registered.
    Registered {
        /// Its user.
        user: UserId,
        /// The user's oldest connections beyond their number. They are no longer registered, and the caller
        /// closes them.
        displaced: Vec<ConnectionId>,
    },
    /// The ticket is unknown, was already taken or has expired, or its token has expired or was revoked.
    TicketRefused,
    /// The ticket was issued to another origin.
    OriginRefused,
}

/// The result of extending a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Extended {
    /// The new expiry of the connection, in milliseconds since 1970.
    Until(i64),
    /// The ticket is invalid or does not match the connection, or the connection is not registered.
    Refused,
}

/// A registered connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// API Gateway's id of it.
    pub id: ConnectionId,
    /// Its user.
    pub user: UserId,
    /// When it was registered, in milliseconds since 1970.
    pub connected_at_ms: i64,
    /// When its token expires, in milliseconds since 1970. From then on nothing is pushed to it.
    pub token_expires_at_ms: i64,
}
