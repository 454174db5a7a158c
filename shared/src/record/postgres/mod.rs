//! The record in Postgres. An act is one statement wherever its effect cannot depend on rows that a concurrent act may just
//! have changed. Nothing is kept in a session, so a pooler in transaction mode has nothing to pin.

mod delivery;
mod failure;
mod inbox;
mod rows;
mod sockets;
mod sql;
mod store;
mod timeout;

pub use store::{OpenError, PostgresRecord};
