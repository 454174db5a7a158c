//! The suite of `shared::delivery::deliveries::Deliveries`.

mod backlog;
mod batches;
mod cancelled;
mod chunks;
mod due;
mod expired;
mod keys;
mod resync;
mod scheduled;
