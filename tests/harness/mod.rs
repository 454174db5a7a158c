//! The vocabulary of the tests: a [`World`] is a whole system on a free port with its own stores, users open sockets
//! on [`Device`]s, services send, and a device *sees* notifications.
//!
//! The clock of a world does not advance until a test advances it. A ping proves that nothing was pushed: a frame that was
//! pushed before the ping arrives before its pong.
//!
//! Whatever passes through a [`World`], a [`Device`], a [`Listener`], [`invoke`] or [`FakePush`] must be as docs/openapi.yaml
//! and docs/asyncapi.yaml describe it. No test has to ask for that.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

pub mod api;
pub mod app;
pub mod binaries;
pub mod conversation;
pub mod device;
pub mod function;
pub mod http;
pub mod identity_provider;
pub mod listener;
pub mod pgbouncer;
pub mod postgres_server;
pub mod push_service;
pub mod redis_cluster;
pub mod redis_server;
pub mod sandbox;
pub mod secrets_manager;
pub mod tools;
pub mod watch;
pub mod world;
pub mod yaml;

pub use app::{Counted, FakePush, HttpAnswer, TestApp, body, event, socket_event};
pub use device::Device;
pub use function::invoke;
pub use http::Answer;
pub use listener::Listener;
pub use world::{Caller, START_MS, World};
