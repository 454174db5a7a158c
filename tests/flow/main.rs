//! Flows through a whole system on a free port and over real sockets, written in the vocabulary of the domain.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod catching_up;
mod changes;
mod chats;
mod conversations;
mod emitting;
mod history;
mod identity_provider;
mod in_process;
mod large_sends;
mod ringing;
mod sockets;
mod streaming;
mod why;
