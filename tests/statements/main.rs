//! What calls cost on real servers, in numbers that no machine changes: statements and round trips to Postgres, seen on
//! the wire, and commands to Redis, as it counts them itself.
//!
//! Everything is measured warm: on a new connection the first call of each statement costs one round trip more, in
//! which it is prepared.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod moment;
mod queue;
mod record;
mod wire;
