//! Function handlers called with recorded events of API Gateway, without a gateway: their answers, their pushes and
//! their cost.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod accepting_fast;
mod after_an_outage;
mod api_gateway;
mod at_random;
mod budget;
mod cancelling;
mod collapsing;
mod dead_letters;
mod delivering;
mod drain;
mod emitting;
mod erasing;
mod expiring;
mod frames;
mod history;
mod http_functions;
mod invocations;
mod large_answers;
mod logs_first;
mod metric_names;
mod metrics;
mod neighbours;
mod presence;
mod presence_at_random;
mod published_keys;
mod pushing;
mod queue;
mod renewed_secrets;
mod repeating;
mod revoking;
mod scheduled;
mod sending;
mod snoozing;
mod socket_functions;
mod strange_logs;
mod streaming;
mod talking_at_random;
mod testing;
mod traces;
mod waiting;
mod web_push;
mod writing_logs;
