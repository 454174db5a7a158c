//! The record in one SQLite file, for the local gateway and for tests. Only one process may have it open, since two
//! would not see each other's work.

mod chat;
mod delivery;
mod failure;
mod fast;
mod inbox;
mod presence;
mod revocations;
mod rows;
mod sockets;
mod store;

pub use store::{OpenError, SqliteRecord};
