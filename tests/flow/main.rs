//! Flows: a whole system on a free port, real sockets, told in the words of the domain.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod catching_up;
mod changes;
mod history;
mod in_process;
mod large_sends;
mod ringing;
mod sockets;
