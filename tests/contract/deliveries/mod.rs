//! The suite of `shared::deliveries::Deliveries`.

mod chunks;
mod due;
