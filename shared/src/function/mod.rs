//! The start of a deployed function: it logs as Lambda expects it, and ends at once where it is configured wrongly.

#[cfg(feature = "postgres")]
mod stores;

use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;

#[cfg(feature = "postgres")]
pub use stores::{record, start_without_moment};
#[cfg(all(feature = "postgres", feature = "redis"))]
pub use stores::{start, start_waking};

/// The status of a process whose configuration is wrong, by convention (sysexits.h, EX_CONFIG).
const EX_CONFIG: i32 = 78;

/// Logs one JSON object a line to standard output, as Lambda expects it; `RUST_LOG` filters.
pub fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call in one process finds the first one's subscriber, which is as good.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).without_time().try_init();
}

/// Says what is wrong with the configuration, and ends the process.
pub fn exit(ConfigError(problems): &ConfigError) -> ! {
    for problem in problems {
        tracing::error!("{problem}");
    }
    std::process::exit(EX_CONFIG);
}
