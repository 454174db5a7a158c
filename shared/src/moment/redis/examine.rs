//! Asks each instance about itself, past breakers and timeouts of calls, and says what it answers or why it does not.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, RedisResult};
use tokio::time::timeout;

use super::client::{SetupError, client};
use super::failure::log_text;
use super::setup;
use crate::clock::Clock;
use crate::config::RedisConfig;
use crate::doctor::instances::{Examined, Said};

/// How long an instance may take to connect and answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks every instance of the configuration; of a cluster, the one that it names. Changes nothing.
pub async fn examine(config: &RedisConfig, clock: &Clock) -> Result<Vec<Examined>, SetupError> {
    let asking = config.instances.iter().zip(1..).map(|(instance, number)| async move {
        let client = client(config, instance, ProtocolVersion::RESP3)?;
        let answer = match timeout(TIMEOUT, ask(&client, config, clock)).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(log_text(&error)),
            Err(_) => Err("no answer in time".to_owned()),
        };
        let name = if config.is_cluster { "redis".to_owned() } else { format!("redis-{number}") };
        Ok::<_, SetupError>(Examined { name, answer })
    });
    join_all(asking).await.into_iter().collect()
}

async fn ask(client: &Client, config: &RedisConfig, clock: &Clock) -> RedisResult<Said> {
    let settings =
        AsyncConnectionConfig::new().set_connection_timeout(Some(config.connect_timeout)).set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
    let before_ms = clock.now_ms();
    let (is_in_cluster, time_ms) = setup::cluster_and_time(&mut connection).await?;
    let ahead_ms = time_ms - (before_ms + clock.now_ms()) / 2;
    let server = setup::ask(&mut connection).await?;
    Ok(Said { version: server.version, role: server.role, is_in_cluster, ahead_ms })
}
