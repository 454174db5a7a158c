//! What every Carillon function shares.

pub mod app;
pub mod auth;
pub mod clock;
pub mod config;
pub mod cursor;
pub mod delivery;
pub mod error;
pub mod function;
pub mod http;
pub mod ids;
pub mod inbox;
pub mod limits;
pub mod moment;
pub mod page_key;
pub mod protocol;
pub mod record;
pub mod sockets;
pub mod telemetry;
pub mod text;
