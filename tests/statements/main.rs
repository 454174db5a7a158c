//! What calls cost on real servers, in numbers that do not depend on the machine: statements and round trips to
//! Postgres, counted on the wire, and commands to Redis, as Redis counts them.
//!
//! Everything is measured warm: on a new connection, the first use of each statement costs one more round trip, in
//! which it is prepared.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cached;
mod connections;
mod explained;
mod growth;
mod measured;
mod moment;
mod plans;
mod queue;
mod record;
mod wire;
