//! The words in which flows are told: a [`World`] is a whole system on a free port with stores of its own; users
//! open sockets on [`Device`]s, services send, and a device *sees*.
//!
//! Its clock stands until a test turns it. What must not arrive is proved by a ping: whatever was pushed before
//! it comes before its pong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

pub mod app;
pub mod binaries;
pub mod device;
pub mod http;
pub mod postgres_server;
pub mod redis_server;
pub mod sandbox;
pub mod watch;
pub mod world;

pub use app::{Counted, FakePush, HttpAnswer, TestApp, body, event, request, socket_event};
pub use device::Device;
pub use http::Answer;
pub use world::{Caller, START_MS, World};
