//! The moment on a real Redis server: the effect of faults, of foreign values in its keys, and of subscribers. Time is
//! real here, since the faults are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod moment;

mod cluster;
mod draining;
mod health;
mod hints;
mod keys;
mod limits;
mod logs;
mod messages;
mod outages;
mod presence;
mod queue;
mod refusals;
mod several;
mod synchronization;
mod telemetry;
mod warnings;
