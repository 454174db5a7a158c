//! Rate limits in Redis.

pub(crate) mod gcra;
