//! The moment in this process: for the local gateway and for tests. A process that ends forgets it, as
//! the moment may be forgotten at any time.

mod limits;

pub use limits::MemoryLimits;
