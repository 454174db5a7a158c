//! The moment in a real Redis: what faults do to it, what others wrote there, who listens. Time is real here, since the
//! faults are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod moment;

mod draining;
mod health;
mod hints;
mod outages;
mod queue;
mod refusals;
mod telemetry;
mod values;
mod warnings;
