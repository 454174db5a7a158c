//! The process of a function: its log and its exit.

use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;

/// The exit status for an invalid configuration, by convention (sysexits.h, EX_CONFIG).
const EX_CONFIG: i32 = 78;

/// Starts logging to standard output, one JSON object per line, as Lambda expects it. `RUST_LOG` sets the filter; the
/// default is `info`.
pub fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails only if the process already has a subscriber, which is just as good.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).without_time().try_init();
}

/// Logs every problem of the configuration and exits with status 78.
pub fn exit(ConfigError(problems): &ConfigError) -> ! {
    for problem in problems {
        tracing::error!("{problem}");
    }
    std::process::exit(EX_CONFIG);
}
