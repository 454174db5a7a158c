//! Pushes frames through API Gateway's management API, with the AWS SDK. In development the same client talks to the
//! local gateway.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::http::HttpResponse;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Config, Region, StalledStreamProtectionConfig};
use aws_sdk_apigatewaymanagement::error::SdkError;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::ids::ConnectionId;
use crate::protocol::Frame;
use crate::sockets::push::{MAX_AT_ONCE, Outcome, Push};

/// The most requests in flight.
const MAX_IN_FLIGHT: usize = MAX_AT_ONCE;
/// How long one push keeps starting requests. Requests in flight after that are waited for; the others have failed.
const START_WINDOW: Duration = Duration::from_millis(300);

/// Pushes to the sockets of one WebSocket API.
#[derive(Clone)]
pub struct ApiGatewayPush {
    /// Created with the first frame: reading the system's certificates takes longer than the rest of a cold start, and
    /// most calls push nothing.
    client: Arc<LazyClient>,
}

type LazyClient = LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>;

impl ApiGatewayPush {
    /// `endpoint` is the base URL of `@connections`: `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
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
            // The client would retry before the wait that a throttled response requests.
            .retry_config(RetryConfig::disabled())
            .build();
        Self { client: Arc::new(LazyLock::new(Box::new(|| Client::from_conf(config)))) }
    }

    async fn post(&self, connection: &ConnectionId, frame: &Frame) -> Outcome {
        let post = || {
            let data = Blob::new(frame.as_bytes());
            self.client.post_to_connection().connection_id(connection.as_str()).data(data).send()
        };
        let sent = match post().await {
            // The HTTP connection may have died while the sandbox was frozen, so it is retried once on a new one.
            Err(SdkError::DispatchFailure(failure)) if !failure.is_timeout() => post().await,
            sent => sent,
        };
        let error = match sent {
            Ok(_) => return Outcome::Offered,
            Err(error) if error.as_service_error().is_some_and(|reason| reason.is_gone_exception()) => {
                return Outcome::Gone;
            }
            Err(error) => error,
        };
        let outcome = error.raw_response().map_or(Outcome::Failed, outcome_of_error);
        let error = aws_sdk_apigatewaymanagement::error::DisplayErrorContext(error);
        tracing::warn!(%error, %connection, "a frame was not accepted");
        outcome
    }
}

/// The outcome of a response that is neither a success nor 410. A 429 means throttled, and so does a 503 that says how
/// long to wait.
fn outcome_of_error(response: &HttpResponse) -> Outcome {
    let seconds = response.headers().get("retry-after").and_then(|after| after.trim().parse::<u32>().ok());
    match (response.status().as_u16(), seconds) {
        (429, None) => Outcome::Throttled { retry_after_ms: 0 },
        (429 | 503, Some(seconds)) => Outcome::Throttled { retry_after_ms: seconds.saturating_mul(1_000) },
        _ => Outcome::Failed,
    }
}

#[async_trait]
impl Push for ApiGatewayPush {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        let until = Instant::now() + START_WINDOW;
        let posts: Vec<_> = frames
            .iter()
            .enumerate()
            .map(|(index, (connection, frame))| async move {
                // The first requests always begin, however slow the machine is.
                let is_late = index >= MAX_IN_FLIGHT && Instant::now() > until;
                if is_late { Outcome::Failed } else { self.post(connection, frame).await }
            })
            .collect();
        stream::iter(posts).buffered(MAX_IN_FLIGHT).collect().await
    }

    async fn close(&self, connections: &[ConnectionId]) {
        stream::iter(connections)
            .for_each_concurrent(MAX_IN_FLIGHT, |connection| async move {
                let closed = self.client.delete_connection().connection_id(connection.as_str()).send().await;
                match closed {
                    Err(error) if !error.as_service_error().is_some_and(|reason| reason.is_gone_exception()) => {
                        let error = aws_sdk_apigatewaymanagement::error::DisplayErrorContext(error);
                        tracing::warn!(%error, %connection, "a connection could not be closed");
                    }
                    _ => {}
                }
            })
            .await;
    }
}
