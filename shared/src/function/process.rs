//! The process of a function: its configuration, its log and its exit.

use tracing_subscriber::{EnvFilter, Layer};

use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, Origins};
use crate::secrets::{self, Secrets};
use crate::telemetry::{cloud_watch, otlp, spans};

/// The exit status for an invalid configuration, by convention (sysexits.h, EX_CONFIG).
const EX_CONFIG: i32 = 78;

/// Starts logging, and returns the configuration of a function that requires these variables and whose variables name no secrets.
/// If a variable is missing or invalid, logs which and exits. From then on, metrics are published and spans exported if the
/// configuration says where.
pub fn begin(needed: &[&str]) -> Config {
    log();
    let config = Config::from_env(needed).unwrap_or_else(|error| exit(&error));
    publish_metrics(&config);
    config
}

/// The same for a function whose variables may name secrets, which it reads.
pub async fn begin_with_secrets(needed: &[&str]) -> (Config, Secrets) {
    log();
    let resolved = secrets::resolve(&config::environment(), &Clock::system()).await;
    let (config, secrets) =
        resolved.configured(needed, Origins::Exact(Vec::new())).unwrap_or_else(|error| exit(&error));
    publish_metrics(&config);
    (config, secrets)
}

fn publish_metrics(config: &Config) {
    if let Some(namespace) = &config.metrics_namespace {
        cloud_watch::publish_in(namespace);
    }
}

/// Starts logging to standard output, one JSON object per line, as Lambda expects it. `RUST_LOG` sets the filter; the
/// default is `info`. If the environment names a collector, starts exporting spans too.
fn log() {
    let collector = config::collector(&config::environment());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    match &collector {
        Some(collector) if spans::CAN_EXPORT => {
            let lines = tracing_subscriber::fmt::layer().json().without_time();
            otlp::start(lines.with_filter(filter), collector);
        }
        _ => {
            // Fails only if the process already has a subscriber, which is just as good.
            let _ = tracing_subscriber::fmt().json().with_env_filter(filter).without_time().try_init();
        }
    }
    if collector.is_some() && !spans::CAN_EXPORT {
        tracing::warn!("OTEL_EXPORTER_OTLP_ENDPOINT: {}", spans::CANNOT_EXPORT);
    }
}

/// Logs every problem of the configuration and exits with status 78.
pub fn exit(ConfigError(problems): &ConfigError) -> ! {
    for problem in problems {
        tracing::error!("{problem}");
    }
    std::process::exit(EX_CONFIG);
}
