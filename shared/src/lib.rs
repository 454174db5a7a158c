//! What every Carillon function shares. Four groups, in reading order: the words it speaks, the promises its
//! stores keep, the acts that more than one function performs, and the stores themselves.

// Words: no input or output, no store.
pub mod clock;
pub mod config;
pub mod cursor;
pub mod error;
pub mod fields;
pub mod gcra;
pub mod histogram;
pub mod ids;
pub mod json;
pub mod notification;
pub mod protocol;
pub mod send;
pub mod text;
pub mod turns;

// Promises of the record, which must outlive everything …
pub mod connections;
pub mod dead_letters;
pub mod deliveries;
pub mod history;
pub mod inbox;
pub mod retention;
// … and of the moment, which may vanish at any time without loss.
pub mod limits;
pub mod notes;
pub mod push;
pub mod queue;
pub mod vitals;

// Acts.
pub mod accept;
pub mod app;
pub mod auth;
pub mod call;
pub mod deliver;
pub mod function;
pub mod metrics;
pub mod reply;
pub mod sync;

// Stores, and the ways to the sockets and to the drain.
pub mod api_gateway;
pub mod lambda;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod without;
