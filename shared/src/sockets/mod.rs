//! Connections, tickets, and the way to the sockets.

pub mod api_gateway;
pub mod connections;
pub mod push;
