//! The suite of `shared::deliveries::Deliveries`.

mod backlog;
mod cancelled;
mod chunks;
mod due;
mod scheduled;
