//! Asks everything that a configuration names what is wrong with it: its secrets, the database, Redis, the sockets, the identity
//! provider. What the answers mean is in [`doctor`](crate::doctor).

use std::collections::HashMap;
use std::time::Duration;

use super::stores::{credentials, record};
use crate::auth;
use crate::clock::Clock;
use crate::config::{self, Config, Origins, RedisConfig};
use crate::doctor::extent::Extent;
use crate::doctor::finding::Finding;
use crate::doctor::{database, identity, instances, management, remedies, secrets, variables};
use crate::moment::redis::RedisMoment;
use crate::moment::redis::examine::examine;
use crate::secrets::resolve;
use crate::sockets::api_gateway::ApiGatewayPush;
use crate::telemetry::health::{Health, Migrations, Role, Status};

/// How long Redis may take to perform what calls ask.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What is wrong with this function: its variables, and what they name.
pub async fn of_this_function() -> Vec<Finding> {
    let clock = Clock::system();
    let Examined { config, mut found, .. } = of_variables(&config::environment(), Extent::Function, &clock).await;
    if let Some(config) = config {
        found.extend(of_config(&config, &clock).await);
    }
    found
}

/// What variables are like.
pub struct Examined {
    /// What they configure, as far as it can be read; `None` if it cannot.
    pub config: Option<Config>,
    /// What is wrong with them, and with the secrets that they name.
    pub found: Vec<Finding>,
    /// Whether a start that requires none of them accepts them.
    pub are_valid: bool,
}

/// Reads the secrets that variables name, and examines the values.
pub async fn of_variables(variables: &HashMap<String, String>, extent: Extent, clock: &Clock) -> Examined {
    let resolved = resolve(variables, clock).await;
    let (config, mut found) = variables::examine(&resolved.variables, extent);
    if !resolved.unusable.is_empty() {
        // A variable whose value cannot be had is not missing, and then not every variable can be used.
        let is_unusable = |check: &str| resolved.unusable.iter().any(|unusable| unusable.variable == check);
        found.retain(|finding| !is_unusable(&finding.check) && finding.check != variables::CHECK);
    }
    for finding in &mut found {
        if let Some(secret) = resolved.secret_of(&finding.check) {
            finding.what.push_str(&format!(" (its value is from the secret {secret})"));
        }
    }
    found.extend(secrets::of_resolved(&resolved));
    Examined { config, found, are_valid: resolved.configured(&[], Origins::Loopback).is_ok() }
}

/// What is wrong with what a configuration names. Changes nothing. What it does not name is not asked.
pub async fn of_config(config: &Config, clock: &Clock) -> Vec<Finding> {
    let (database, redis, tokens, sockets) =
        tokio::join!(database_of(config, clock), redis_of(config, clock), tokens_of(config), sockets_of(config));
    let found = database.into_iter().chain(redis).chain(tokens).chain(sockets);
    found.chain(web_push_of(config)).collect()
}

async fn database_of(config: &Config, clock: &Clock) -> Vec<Finding> {
    if config.database_kind() != "postgres" {
        return Vec::new();
    }
    let record = match record(config) {
        Ok(record) => record,
        Err(error) => {
            let what = error.to_string();
            let what = what.strip_prefix("DATABASE_URL ").unwrap_or(&what);
            return vec![Finding::problem("DATABASE_URL", what, remedies::of("DATABASE_URL"))];
        }
    };
    let found = match record.examine(clock).await {
        Err(unreachable) => vec![database::of_unreachable(&unreachable)],
        Ok(examined) => database::of_examined(&examined, &record.schema().await, config.database_pooler),
    };
    record.close().await;
    found
}

async fn redis_of(config: &Config, clock: &Clock) -> Vec<Finding> {
    let Some(redis) = &config.redis else { return Vec::new() };
    let examined = match examine(redis, clock).await {
        Ok(examined) => examined,
        Err(error) => return vec![setup_error(&error.to_string())],
    };
    let mut found = instances::of_examined(&examined, redis.is_cluster);
    // One that does not fit the configuration fails whatever calls ask, which would only be told twice.
    let is_answered = examined.iter().any(|instance| instance.answer.is_ok());
    let is_unfit = examined.iter().filter_map(|instance| instance.answer.as_ref().ok()).any(|said| {
        said.is_in_cluster == Some(!redis.is_cluster) || (said.role == Some(Role::Replica) && !redis.is_cluster)
    });
    if is_answered && !is_unfit {
        found.extend(served(config, redis, clock).await);
    }
    found
}

/// Whether Redis performs what calls ask, and what its own warnings are.
async fn served(config: &Config, redis: &RedisConfig, clock: &Clock) -> Vec<Finding> {
    let moment = match RedisMoment::with_timeout(redis, clock.clone(), TIMEOUT) {
        Ok(moment) => moment,
        Err(error) => return vec![setup_error(&error.to_string())],
    };
    let instances = moment.instances().await;
    let status = moment.check().await;
    let silence =
        if status == Status::Unavailable { instances::silence(&moment.instances().await) } else { Vec::new() };
    instances::of_health(&status, &silence, &instances, config.accept)
}

fn setup_error(error: &str) -> Finding {
    let (name, required) = error.split_once(' ').unwrap_or((error, "cannot be used"));
    Finding::problem(name, required, "correct it")
}

async fn tokens_of(config: &Config) -> Option<Finding> {
    let url = config.jwks_url.as_ref()?;
    let published = auth::fetch_keys(url).await;
    let published = published.map(|published| {
        let refused = published.refused.into_iter().map(|(_, reason)| reason).collect();
        (published.keys.len(), refused)
    });
    Some(identity::of_keys(&published))
}

async fn sockets_of(config: &Config) -> Option<Finding> {
    let endpoint = config.ws_endpoint.as_deref().filter(|endpoint| endpoint.starts_with("http"))?;
    if config.credentials.is_none() && endpoint.starts_with("https://") {
        return Some(Finding::warning(
            "sockets",
            "no AWS credentials are in the environment, so no push was tried",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ask the function drain",
        ));
    }
    let push = ApiGatewayPush::new(endpoint, config.region.clone(), credentials(config));
    Some(management::of_push(&push.probe().await))
}

fn web_push_of(config: &Config) -> Option<Finding> {
    config.vapid.as_ref().map(|_| Finding::ok("web push", "the keys for Web Push can be used"))
}
