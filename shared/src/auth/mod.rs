//! Authentication: bearer tokens, and the one-time tickets that they are exchanged for.

mod revocations;
mod tickets;
mod tokens;

pub use self::revocations::{REVOCATION_RETENTION_MS, Revocations, Revoked, RevokedUsers, is_revoked};
pub use self::tickets::{new_ticket, ticket_hash};
pub use self::tokens::{Caller, Tokens, new_secret, sign};
