//! The functions as what is deployed: the binaries themselves, before a Runtime API and under `cargo lambda watch`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod linked;
mod refusals;
mod surroundings;
mod waking;
