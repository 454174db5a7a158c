//! Web Push (RFC 8030): subscriptions of browsers, and what is sent to the push services that they name.
//! What the record keeps of them, and when something is pushed, are left to others.

pub mod address;
mod connections;
pub mod encryption;
pub mod endpoint;
pub mod http_service;
pub mod service;
pub mod subscription;
pub mod vapid;
