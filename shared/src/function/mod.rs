//! The start of a deployed function: logging in Lambda's format, metrics in CloudWatch's, the secrets that its variables name, and
//! an exit at once if the configuration is invalid.

#[cfg(all(feature = "postgres", feature = "redis"))]
pub mod doctor;
mod process;
#[cfg(feature = "postgres")]
mod stores;

pub use process::{begin, begin_with_secrets, exit};
#[cfg(feature = "postgres")]
pub use stores::{push_services, record, start_without_moment};
#[cfg(all(feature = "postgres", feature = "redis"))]
pub use stores::{start, start_waking};
