//! Whole systems on a Postgres and a Redis that are shared, killed, hung, emptied, and wrongly named.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod beside;
mod load;
mod postgres_away;
mod redis_away;
mod starts;
mod stores;
mod together;
