//! The record in one SQLite file, for the local gateway and for tests. Only one process may have it open, since two
//! would not see each other's work.

mod chat;
mod connection;
mod delivery;
mod epoch;
mod failure;
mod fast;
mod inbox;
mod migrate;
mod preferences;
mod presence;
mod readers;
mod revocations;
mod rows;
mod sockets;
mod statement;
mod store;
mod users;
mod web_push;
mod writer;

pub use store::{OpenError, SqliteRecord};
