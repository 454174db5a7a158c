//! The record in Postgres. An operation is a single statement unless its effect may depend on rows that a concurrent
//! one has just changed. Nothing is kept in a session, so a pooler in transaction mode never has to pin a connection.

mod chat;
mod delivery;
mod epoch;
mod examine;
mod failure;
mod fast;
mod functions_role;
mod inbox;
mod preferences;
mod presence;
mod revocations;
mod rows;
mod scram;
mod sockets;
mod sql;
mod store;
mod timeout;
mod users;
mod web_push;

pub use store::{OpenError, PostgresRecord};
