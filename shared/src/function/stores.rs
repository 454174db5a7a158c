//! The app of a deployed function, on the stores that the environment configures.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use aws_credential_types::Credentials;

use crate::app::App;
use crate::aws;
use crate::config::{Config, ConfigError};
use crate::delivery::lambda::LambdaWake;
use crate::function::process::{begin_with_secrets, exit};
use crate::ids::ConnectionId;
use crate::moment::Moment;
use crate::moment::none::NoMoment;
use crate::protocol::Frame;
use crate::record::Record;
use crate::record::postgres::PostgresRecord;
use crate::secrets::Secrets;
use crate::sockets::api_gateway::ApiGatewayPush;
use crate::sockets::push::{Outcome, Push};
use crate::web_push::http_service::HttpPushServices;
use crate::web_push::service::PushServices;

/// A sandbox handles one call at a time. The second connection is for concurrent statements of that call.
const DATABASE_CONNECTIONS: u32 = 2;

/// Starts logging and returns the app of a function that requires these variables. If a variable is missing or invalid,
/// logs which and exits. Asks only for the secrets that variables name: the stores are connected to by the first call.
#[cfg(feature = "redis")]
pub async fn start(needed: &[&str]) -> App {
    let (config, secrets) = begin_with_secrets(needed).await;
    app(config, &secrets).unwrap_or_else(|error| exit(&secrets.naming(&error)))
}

/// As [`start`], for a function that may enqueue work: it wakes the function `DRAIN_FUNCTION`, if that is set.
#[cfg(feature = "redis")]
pub async fn start_waking(needed: &[&str]) -> App {
    let mut app = start(needed).await;
    if let Some(function) = app.config.drain_function.clone() {
        let Config { lambda_endpoint, region, .. } = &*app.config;
        app.wake = Some(LambdaWake::new(function, lambda_endpoint.clone(), region.clone(), credentials(&app.config)));
    }
    app
}

/// As [`start`], for a function that does not use the moment, and so does not link the Redis client.
pub async fn start_without_moment(needed: &[&str]) -> App {
    let (config, secrets) = begin_with_secrets(needed).await;
    app_without_moment(config, &secrets).unwrap_or_else(|error| exit(&secrets.naming(&error)))
}

/// The way to the push services of browsers; `None` without keys for Web Push.
pub fn push_services(config: &Config) -> Option<Arc<dyn PushServices>> {
    let keys = config.vapid.clone()?;
    Some(Arc::new(HttpPushServices::new(keys, config.push_hosts.clone())))
}

/// The record at `DATABASE_URL`, which must be Postgres. Does not connect.
pub fn record(config: &Config) -> Result<PostgresRecord, ConfigError> {
    let url = config.database_url.as_ref().ok_or_else(|| wrong("DATABASE_URL is required"))?;
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.reveal().starts_with(scheme)) {
        return Err(wrong("DATABASE_URL must begin with postgres://"));
    }
    Ok(PostgresRecord::new(url, DATABASE_CONNECTIONS).map_err(wrong)?.behind(config.database_pooler))
}

#[cfg(feature = "redis")]
fn app(config: Config, secrets: &Secrets) -> Result<App, ConfigError> {
    let Some(redis) = config.redis.clone() else { return app_without_moment(config, secrets) };
    let (record, push) = (renewed_record(&config, secrets)?, push(&config));
    let clock = crate::clock::Clock::system();
    let moment = crate::moment::redis::RedisMoment::with_renewal(&redis, clock, secrets.of_redis()).map_err(wrong)?;
    Ok(App::new(config, record, Moment::new(Arc::new(moment)), push).with_secrets(secrets))
}

fn app_without_moment(config: Config, secrets: &Secrets) -> Result<App, ConfigError> {
    let (record, push) = (renewed_record(&config, secrets)?, push(&config));
    Ok(App::new(config, record, Moment::new(Arc::new(NoMoment::default())), push).with_secrets(secrets))
}

fn renewed_record(config: &Config, secrets: &Secrets) -> Result<Record, ConfigError> {
    Ok(Record::new(Arc::new(record(config)?.renewed_by(secrets.of_database()))))
}

fn wrong(problem: impl Display) -> ConfigError {
    ConfigError(vec![problem.to_string()])
}

/// Pushes to the sockets of `WS_ENDPOINT`. Without that variable, every push fails and is logged.
fn push(config: &Config) -> Arc<dyn Push> {
    let Some(endpoint) = config.ws_endpoint.as_deref() else { return Arc::new(NoSockets) };
    Arc::new(ApiGatewayPush::new(endpoint, config.region.clone(), credentials(config)))
}

pub(super) fn credentials(config: &Config) -> Credentials {
    // The local gateway needs none, but the SDK signs every request.
    let local = || Credentials::new("local", "local", None, None, "local");
    config.credentials.as_ref().map_or_else(local, aws::credentials)
}

/// Takes the place of the sockets if `WS_ENDPOINT` is not set.
struct NoSockets;

#[async_trait]
impl Push for NoSockets {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        tracing::error!("WS_ENDPOINT is not set, so frames cannot be pushed");
        vec![Outcome::Failed; frames.len()]
    }

    async fn close(&self, _: &[ConnectionId]) {
        tracing::error!("WS_ENDPOINT is not set, so connections cannot be closed");
    }
}
