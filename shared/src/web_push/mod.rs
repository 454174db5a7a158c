//! Web Push (RFC 8030): subscriptions of browsers, what has yet to be sent to the push services that they name, and how it is
//! sent. When is decided by the record and the drain.

pub mod address;
mod connections;
pub mod encryption;
pub mod endpoint;
pub mod http_service;
pub mod message;
pub mod pushes;
pub mod service;
pub mod subscription;
pub mod subscriptions;
pub mod vapid;
