//! The promise of the record that knows who is connected: tickets open a socket once, and no user has more
//! than 20 of them.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};

/// The most connections of one user; one more closes the oldest.
pub const MAX_CONNECTIONS: usize = 20;
/// When API Gateway ends a connection, in milliseconds from its beginning.
pub const MAX_SOCKET_AGE_MS: i64 = 2 * 60 * 60 * 1_000;
/// How long a connection can live at all (API Gateway ends it after 2 h); a row older than this lost its
/// `$disconnect`.
pub const MAX_CONNECTION_AGE_MS: i64 = 130 * 60 * 1_000;

/// How many tickets, connections, and connections whose token has ended one statement of a sweep takes.
pub const MAX_SWEPT: usize = 1_000;

/// The registry of open sockets, and the tickets that open them.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Keeps a ticket until it is taken or too old.
    async fn issue(&self, ticket: &Ticket, at: At) -> Result<(), StoreError>;

    /// Takes a ticket and registers the connection for its user, in one transaction. However many try at
    /// once, one ticket opens one connection. A ticket that is refused for its origin is spent.
    async fn open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, StoreError>;

    /// Takes a ticket and moves the end of an open connection to the end of the ticket's token. Refused where
    /// the ticket is another user's or of another origin; the ticket is spent then too.
    async fn extend(&self, connection: &ConnectionId, ticket_hash: &[u8; 32], at: At) -> Result<Extended, StoreError>;

    /// The connection of that id; `None` where it is not registered.
    async fn find(&self, connection: &ConnectionId) -> Result<Option<Connection>, StoreError>;

    /// Forgets connections; unknown ones are skipped.
    async fn forget(&self, connections: &[ConnectionId]) -> Result<(), StoreError>;

    /// Forgets tickets that are too old and connections older than [`MAX_CONNECTION_AGE_MS`]. Returns
    /// connections whose token has ended, at most [`MAX_SWEPT`], to be told and closed; they stay until they are
    /// forgotten, so that a sweep that died is repeated by the next.
    async fn sweep(&self, at: At) -> Result<Vec<Connection>, StoreError>;

    /// How many sockets are open: those whose token has not ended and that are younger than [`MAX_SOCKET_AGE_MS`].
    async fn count(&self, at: At) -> Result<Online, StoreError>;
}

/// Who is connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Online {
    /// Open sockets.
    pub connections: u64,
    /// Users who have one or more of them.
    pub users: u64,
}

/// A one-time key to a socket, as it is stored.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// SHA-256 of the ticket; the ticket itself is stored nowhere.
    pub hash: [u8; 32],
    /// Whom it lets in.
    pub user: UserId,
    /// The origin that may use it; `None`: only a client that sends no origin.
    pub origin: Option<String>,
    /// The end of the token that it came from, and so of the socket.
    pub token_expires_at_ms: i64,
    /// When it is too old to be taken.
    pub expires_at_ms: i64,
}

/// A socket that asks to be opened.
#[derive(Debug)]
pub struct Opening<'a> {
    /// API Gateway's name for it.
    pub connection: &'a ConnectionId,
    /// SHA-256 of the ticket that it showed.
    pub ticket_hash: [u8; 32],
    /// The origin that its browser named.
    pub origin: Option<&'a str>,
}

/// What became of an opening.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is registered. These older ones of the same user are no longer, and are to be closed.
    Registered {
        /// Whose connection it is.
        user: UserId,
        /// The oldest beyond [`MAX_CONNECTIONS`].
        displaced: Vec<ConnectionId>,
    },
    /// The ticket is unknown, was taken, or is too old, or its token has ended.
    TicketRefused,
    /// The ticket is another origin's.
    OriginRefused,
}

/// What became of an extension.
#[derive(Debug, PartialEq, Eq)]
pub enum Extended {
    /// The connection lives until this time, in milliseconds since 1970.
    Until(i64),
    /// The ticket does not fit the connection, or is none.
    Refused,
}

/// An open socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// API Gateway's name for it.
    pub id: ConnectionId,
    /// Whose it is.
    pub user: UserId,
    /// When it was registered, in milliseconds since 1970.
    pub connected_at_ms: i64,
    /// When the token behind it ends; nothing is pushed to it from then on.
    pub token_expires_at_ms: i64,
}
