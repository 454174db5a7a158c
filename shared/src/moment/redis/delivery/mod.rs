//! The queue of work in Redis.

pub(crate) mod queue;
