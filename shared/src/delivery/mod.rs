//! From a stored row to a device: pushing, the work that is left, retries, dead letters, and waking the drain.

pub mod dead_letters;
pub mod deliver;
pub mod deliveries;
pub mod fair_share;
pub mod lambda;
pub mod queue;
pub mod wake;
