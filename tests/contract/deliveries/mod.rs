//! The suite of `shared::deliveries::Deliveries`.

mod backlog;
mod chunks;
mod due;
mod scheduled;
