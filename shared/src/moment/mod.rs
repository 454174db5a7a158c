//! The stores that keep the promises of the moment.

#[cfg(feature = "memory")]
pub mod memory;
pub mod none;
#[cfg(feature = "redis")]
pub mod redis;
