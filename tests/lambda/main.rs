//! The function binaries as they are deployed, run against a Runtime API.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod answers;
mod doctor;
mod environment;
mod linked;
mod metrics;
mod published_keys;
mod refusals;
mod secrets;
mod waking;
