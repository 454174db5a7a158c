//! Whole systems on Postgres and Redis: shared by several gateways, killed, hung, emptied, misconfigured and restored; and
//! the gateway without file handles, or with drains that may not linger.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod doctor;
mod drain;
mod epoch;
mod file_handles;
mod load;
mod pooler;
mod postgres_outage;
mod pub_sub;
mod redis_outage;
mod restore;
mod secrets;
mod startup;
mod stores;
mod two_gateways;
