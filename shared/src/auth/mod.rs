//! Authentication: bearer tokens, the keys that verify them, and the one-time tickets that they are exchanged for.

mod fetch;
mod key_set;
pub mod published_keys;
mod renewed_secrets;
mod revocations;
mod tickets;
mod tokens;
mod verifying_key;

pub use self::key_set::fetch_keys;
pub(crate) use self::revocations::MAX_AGE_MS as REVOCATIONS_MAX_AGE_MS;
pub use self::revocations::{REVOCATION_RETENTION_MS, Revocations, Revoked, RevokedUsers};
pub use self::tickets::{new_ticket, ticket_hash};
pub use self::tokens::{Caller, MAX_TOKEN_LIFE_S, Tokens, new_secret, sign};
