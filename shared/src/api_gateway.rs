//! Frames to sockets through API Gateway's management API, with the AWS SDK. On a laptop the same client
//! talks to the local gateway.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Config, Region, StalledStreamProtectionConfig};
use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::ids::ConnectionId;
use crate::protocol::Frame;
use crate::push::{Outcome, Push};

/// How many requests are under way at once.
const AT_ONCE: usize = 64;
/// How long new requests are begun; what is under way then is waited for, what was not begun has failed.
const BEGIN_WITHIN: Duration = Duration::from_millis(300);

/// The sockets of one WebSocket API.
#[derive(Clone)]
pub struct ApiGatewayPush {
    /// Made with the first frame: reading the machine's certificates takes longer than the rest of a cold start, and
    /// most calls push nothing.
    client: Arc<LazyClient>,
}

type LazyClient = LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>;

impl ApiGatewayPush {
    /// `endpoint` is the base of `@connections`: `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    /// Connects with the first frame.
    pub fn new(endpoint: &str, region: String, credentials: Credentials) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(800))
            .operation_attempt_timeout(Duration::from_secs(2))
            .operation_timeout(Duration::from_secs(3))
            .build();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(credentials)
            .endpoint_url(endpoint)
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // The second attempt is for a connection that died while the sandbox was frozen. Whatever fails
            // twice waits in the record.
            .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(50)))
            .build();
        Self { client: Arc::new(LazyLock::new(Box::new(|| Client::from_conf(config)))) }
    }

    async fn post(&self, connection: &ConnectionId, frame: &Frame) -> Outcome {
        let data = Blob::new(frame.as_bytes());
        let sent = self.client.post_to_connection().connection_id(connection.as_str()).data(data).send().await;
        match sent {
            Ok(_) => Outcome::Offered,
            Err(error) if error.as_service_error().is_some_and(|said| said.is_gone_exception()) => Outcome::Gone,
            Err(error) => {
                let error = aws_sdk_apigatewaymanagement::error::DisplayErrorContext(error);
                tracing::warn!(%error, %connection, "a frame was not taken");
                Outcome::Failed
            }
        }
    }
}

#[async_trait]
impl Push for ApiGatewayPush {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        let until = Instant::now() + BEGIN_WITHIN;
        let posts: Vec<_> = frames
            .iter()
            .enumerate()
            .map(|(index, (connection, frame))| async move {
                // The first ones all begin at once, however slow the machine is.
                let is_late = index >= AT_ONCE && Instant::now() > until;
                if is_late { Outcome::Failed } else { self.post(connection, frame).await }
            })
            .collect();
        stream::iter(posts).buffered(AT_ONCE).collect().await
    }

    async fn close(&self, connections: &[ConnectionId]) {
        stream::iter(connections)
            .for_each_concurrent(AT_ONCE, |connection| async move {
                let closed = self.client.delete_connection().connection_id(connection.as_str()).send().await;
                match closed {
                    Err(error) if !error.as_service_error().is_some_and(|said| said.is_gone_exception()) => {
                        let error = aws_sdk_apigatewaymanagement::error::DisplayErrorContext(error);
                        tracing::warn!(%error, %connection, "a connection was not closed");
                    }
                    _ => {}
                }
            })
            .await;
    }
}
