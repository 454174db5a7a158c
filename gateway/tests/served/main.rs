//! The gateway over real sockets, with fake functions and a clock that the tests advance.

#![allow(clippy::unwrap_used, reason = "everything here is test code, including the functions that are not a #[test]")]
#![allow(unreachable_pub, reason = "the harness is a module of this binary, but reads like a library")]

mod clients;
mod gateway_routes;
mod handshake;
mod harness;
mod http_api;
mod limits;
mod management;
mod rest_api;
mod schedules;
mod sockets;
mod stop;
mod streaming;
mod templates;
