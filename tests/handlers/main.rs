//! Functions on recorded events of API Gateway, without a gateway: what each answers, what it pushes, and what it
//! costs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod after_an_outage;
mod budget;
mod cancelling;
mod collapsing;
mod dead_letters;
mod delivering;
mod drain;
mod expiring;
mod frames;
mod history;
mod http_functions;
mod metrics;
mod queue;
mod refusing;
mod scheduled;
mod sending;
mod socket_functions;
mod testing;
