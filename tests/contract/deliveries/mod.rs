//! The suite of `shared::delivery::deliveries::Deliveries`.

mod backlog;
mod behind;
mod cancelled;
mod chunks;
mod due;
mod expired;
mod keys;
mod scheduled;
mod together;
