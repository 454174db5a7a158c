//! Sockets: who is connected, and the one way to push frames to connections and to close them.

pub mod api_gateway;
pub mod connections;
pub mod flood;
pub mod outgoing;
mod post;
pub mod push;
mod signature;
pub mod streams;
