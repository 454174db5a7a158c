//! The gateway over real sockets, with fake functions and a clock that tests turn.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is not a #[test]")]
#![allow(unreachable_pub, reason = "the harness is a module of this binary, and reads like a library")]

mod gateway_routes;
mod handshake;
mod harness;
mod http_api;
mod limits;
mod management;
mod schedules;
mod sockets;
mod stop;
mod templates;
